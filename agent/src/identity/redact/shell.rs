//! Secrets in what a shell is given to run: `sh -c "mysql -p…"`, a line of cron's, what
//! `ssh` and `su` pass on. Any argument with blanks in it may be one.

use std::ops::Range;

use super::programs::{Part, Reader};

/// Commands in commands in quotes; deeper nobody quotes by hand.
const DEEPEST: usize = 4;

pub(super) fn within(text: &str, hidden: &mut Vec<Range<usize>>) {
    commands(&Piece { text: text.to_owned(), places: (0..text.len()).collect() }, 0, hidden);
}

/// Text without its quotes, and where each of its bytes stood with them.
#[derive(Default)]
struct Piece {
    text: String,
    places: Vec<usize>,
}

impl Piece {
    /// Where all from this byte on stood.
    fn place(&self, from: usize) -> Option<Range<usize>> {
        Some(*self.places.get(from)?..self.places.last()? + 1)
    }
}

fn commands(whole: &Piece, depth: usize, hidden: &mut Vec<Range<usize>>) {
    for words in split(whole) {
        let mut reader = Reader::default();
        for word in &words {
            match reader.take(&word.text) {
                Part::Plain | Part::Option | Part::Statement { .. } => {
                    if depth < DEEPEST && word.text.contains(char::is_whitespace) {
                        commands(word, depth + 1, hidden);
                    }
                }
                Part::Secret(from) => hidden.extend(word.place(from)),
                Part::User(from) => {
                    let colon = word.text.get(from..).and_then(|user| user.find(':'));
                    hidden.extend(colon.and_then(|colon| word.place(from + colon + 1)));
                }
            }
        }
    }
}

/// The commands of a text, each as its words.
fn split(whole: &Piece) -> Vec<Vec<Piece>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), Piece::default());
    let mut quote = None;
    let mut chars = whole.text.char_indices().peekable();
    while let Some((mut at, mut one)) = chars.next() {
        match (quote, one) {
            (None, '\'' | '"') => {
                quote = Some(one);
                continue;
            }
            (Some(open), _) if open == one => {
                quote = None;
                continue;
            }
            (None | Some('"'), '\\') => {
                let escapes =
                    |(_, next): &(usize, char)| quote.is_none() || "\"\\$`\n".contains(*next);
                if let Some(next) = chars.next_if(escapes) {
                    (at, one) = next;
                    // A line that goes on.
                    if one == '\n' {
                        continue;
                    }
                }
            }
            (None, _) if one.is_whitespace() || ";|&()`".contains(one) => {
                if !word.text.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if (one == '\n' || !one.is_whitespace()) && !words.is_empty() {
                    commands.push(std::mem::take(&mut words));
                }
                continue;
            }
            _ => {}
        }
        word.text.push(one);
        let places = at..at + one.len_utf8();
        word.places.extend(places.filter_map(|place| whole.places.get(place)));
    }
    if !word.text.is_empty() {
        words.push(word);
    }
    commands.push(words);
    commands
}
