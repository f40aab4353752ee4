use super::*;
use crate::policy::vocabulary::MASKS;

#[test]
fn policies_can_ask_for_each_mask_that_hides_something() {
    let hiding = Mask::ALL.iter().filter(|mask| **mask != Mask::Keep);
    let names: Vec<_> = hiding.map(|mask| mask.as_str()).collect();
    assert_eq!(names, MASKS);
}
