//! A number among groups of digits that are not all its own: `#5 4532 0151 …`,
//! `4532015112830366.00`.
//!
//! Never takes a part of groups that stand alike on both sides of it, but for
//! cards at the head of a list of them.

use super::super::edge::Edge;
use super::super::{Demand, Found};
use super::{LONGEST_FORM, Number, WIDE, is_behind_point};
use crate::mask::checks;
use crate::mask::class::Class;

/// What came before, of the same groups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lead {
    pub goes_on: bool,
    /// The sign before the first group.
    joint: Option<u8>,
    /// How many groups of four, alike, since there was a card.
    fours: usize,
}

/// So many groups of four may stand before a card; in a longer list only every
/// fourth is tried.
const MOST_BEFORE: usize = 3;

/// So many digits a number with its country's code has where more stands behind it.
const MOST_ABROAD: usize = 13;

impl Number {
    /// What is found in parts of it; where to go on.
    pub(super) fn parts(
        &self,
        cell: &[u8],
        demand: Demand,
        lead: &mut Lead,
        found: &mut Vec<Found>,
    ) -> usize {
        let all = if self.over && self.group_count > LONGEST_FORM {
            self.group_count - LONGEST_FORM
        } else {
            self.group_count
        };
        let mut first = 0;
        while first < all {
            let part = self
                .card(cell, demand, first, lead)
                .or_else(|| self.abroad(cell, first, lead))
                .or_else(|| self.alone(cell, demand, first, lead))
                .or_else(|| self.spaced(first, lead));
            let taken = match part {
                Some((class, count, here)) => {
                    found.push(here.unwrap_or(self.found(first, count, class)));
                    lead.fours = 0;
                    count
                }
                None => {
                    let four = self.groups.get(first) == Some(&4)
                        && (first == 0 || self.joint(first) == self.joint(first + 1));
                    lead.fours = if four { lead.fours + 1 } else { 0 };
                    1
                }
            };
            first += taken;
        }
        lead.goes_on = self.over && first < self.group_count;
        lead.joint = self.joint(first);
        if !lead.goes_on {
            *lead = Lead::default();
        }
        match self.places.get(first) {
            Some(place) if lead.goes_on => *place,
            _ => self.end,
        }
    }

    /// The sign before a group.
    fn joint(&self, group: usize) -> Option<u8> {
        self.between().get(group.checked_sub(1)?).copied()
    }

    fn joint_before(&self, group: usize, lead: &Lead) -> Option<u8> {
        if group == 0 { lead.joint } else { self.joint(group) }
    }

    fn found(&self, first: usize, count: usize, class: Class) -> Found {
        let (start, end) = self.span(first, count);
        Found { start, end, class }
    }

    fn span(&self, first: usize, count: usize) -> (usize, usize) {
        let place = |group: usize| self.places.get(group).copied().unwrap_or_default();
        let last = (first + count).saturating_sub(1);
        let length = self.groups.get(last).copied().unwrap_or_default();
        (place(first), place(last) + usize::from(length))
    }

    /// Some of its groups as a number.
    fn part(&self, first: usize, count: usize) -> Self {
        let mut part = *self;
        let skipped = self.groups.iter().take(first).map(|length| usize::from(*length)).sum();
        part.digits.rotate_left(skipped);
        part.groups.rotate_left(first);
        part.places.rotate_left(first);
        part.between.rotate_left(first);
        part.group_count = count;
        part.count = part.groups().iter().map(|length| usize::from(*length)).sum();
        (part.start, part.end) = self.span(first, count);
        part.plus = first == 0 && self.plus;
        let opens = first == 0 && self.start < part.start;
        part.bracket = part.between().contains(&b'(') || opens && self.bracket;
        if opens {
            part.start = self.start;
        }
        part.over = false;
        part
    }

    /// A number with its country's code, and other numbers behind it.
    fn abroad(
        &self,
        cell: &[u8],
        first: usize,
        lead: &Lead,
    ) -> Option<(Class, usize, Option<Found>)> {
        if !self.plus || first > 0 || lead.goes_on || Edge::before(cell, self.start) == Edge::More {
            return None;
        }
        (1..self.group_count.min(LONGEST_FORM)).rev().find_map(|count| {
            let part = self.part(0, count);
            let fits = part.count <= MOST_ABROAD && !part.between().contains(&WIDE);
            (fits && part.phone().is_some()).then(|| {
                let (start, end) = (part.start, part.end);
                (Class::Phone, count, Some(Found { start, end, class: Class::Phone }))
            })
        })
    }

    /// Groups with no space between them, and spaces around them.
    fn alone(
        &self,
        cell: &[u8],
        demand: Demand,
        first: usize,
        lead: &Lead,
    ) -> Option<(Class, usize, Option<Found>)> {
        let open = |joint: Option<u8>| matches!(joint, None | Some(b' ' | WIDE));
        let ahead = self.joint_before(first, lead);
        if !open(ahead) && ahead != Some(b'(') {
            return None;
        }
        let rest = self.between().get(first..).unwrap_or_default();
        let count = 1 + rest.iter().take_while(|sign| !open(Some(**sign))).count();
        if count == self.group_count && !lead.goes_on
            || self.over && first + count >= self.group_count
        {
            return None;
        }
        let part = self.part(first, count);
        let here = part.whole(cell, demand)?;
        Some((here.class, count, Some(here)))
    }

    /// A card's number, alone or in groups of four, beside groups that stand otherwise.
    fn card(
        &self,
        cell: &[u8],
        demand: Demand,
        first: usize,
        lead: &Lead,
    ) -> Option<(Class, usize, Option<Found>)> {
        let groups = self.groups.get(first..self.group_count)?;
        let inner = self.joint(first + 1);
        let count = match groups {
            [15 | 16, ..] if demand == Demand::Check => 1,
            [4, 4, 4, 4, ..] if (1..=3).all(|group| self.joint(first + group) == inner) => 4,
            [4, 6, 5, ..] if (1..=2).all(|group| self.joint(first + group) == inner) => 3,
            _ => return None,
        };
        let (ahead, behind) = (self.joint_before(first, lead), self.joint(first + count));
        let fits = match count {
            // A fraction's digits; an amount's, but for `.00`.
            1 => ahead != Some(b'.') && (behind != Some(b'.') || self.is_whole_amount(first + 1)),
            _ => {
                let list = inner == Some(b' ');
                let listed = demand == Demand::Check
                    && (lead.fours <= MOST_BEFORE || lead.fours.is_multiple_of(4));
                (ahead != inner || list && listed) && (behind != inner || list)
            }
        };
        let (start, end) = self.span(first, count);
        let begins = first > 0
            || lead.goes_on
            || Edge::before(cell, start) != Edge::More && !is_behind_point(cell, start);
        let ends = first + count < self.group_count || Edge::after(cell, end) != Edge::More;
        let is = fits && begins && ends && checks::card(self.part(first, count).digits());
        is.then_some((Class::CreditCard, count, None))
    }

    /// `.0`, `.00`: what a number was made of that has no fraction.
    fn is_whole_amount(&self, group: usize) -> bool {
        let from = self.groups.iter().take(group).map(|length| usize::from(*length)).sum();
        let length = usize::from(self.groups.get(group).copied().unwrap_or_default());
        group + 1 == self.group_count
            && self
                .digits
                .get(from..from + length)
                .is_some_and(|digits| digits.iter().all(|digit| *digit == 0))
    }

    /// What two digits prove, or a form that nothing else has, with spaces in it
    /// and around it.
    fn spaced(&self, first: usize, lead: &Lead) -> Option<(Class, usize, Option<Found>)> {
        let count = match self.groups.get(first..self.group_count)? {
            [1, 2, 2, 2, 3, 3, 2, ..] => 7,
            [3, 4, 4, 2, ..] | [2, 3, 3, 3, ..] | [3, 3, 3, 2, ..] => 4,
            [2, 2, 2, 3, 2, ..] => 5,
            [13, 2, ..] => 2,
            _ => return None,
        };
        let joints = self.between().get(first..first + count - 1)?;
        if joints.iter().any(|sign| *sign != b' ') {
            return None;
        }
        let around = [self.joint_before(first, lead), self.joint(first + count)];
        if around.iter().any(|sign| !matches!(sign, None | Some(b' '))) {
            return None;
        }
        let part = self.part(first, count);
        let class = part.grouped().filter(|class| Number::is_proven(*class))?;
        Some((class, count, None))
    }
}
