//! The search for a tag among the slots of a line, all of them at once.

#![allow(unsafe_code)] // Says in assembly what the compiler does not make of seven atomic loads.

#[cfg(all(target_arch = "x86_64", not(miri)))]
use std::arch::asm;

#[cfg(any(test, not(target_arch = "x86_64"), miri))]
use super::bucket::TAG_SHIFT;
use super::bucket::{Line, SLOTS};

/// Slots of a line by number, the lowest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotSet(u32);

impl Iterator for SlotSet {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        // The bit behind the last slot's stands for none, so that a number below it is one of a slot.
        let at = (self.0 | 1 << SLOTS).trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (at < SLOTS).then_some(at)
    }
}

/// The slots of a line with a tag; empty ones may be among them.
#[inline]
pub(super) fn slots_with(line: &Line, tag: u16) -> SlotSet {
    SlotSet(with_tag(line, tag))
}

/// The slots with a tag, a bit each; empty ones may be among them. Without a branch: which slot it is
/// can't be predicted.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn with_tag(line: &Line, tag: u16) -> u32 {
    let set: u32;
    // SAFETY: a line is 64 bytes at a multiple of 64, and the processor has SSE2. What is done is what a
    // relaxed load of each slot and some arithmetic would do, since a slot lies within an aligned half of
    // a vector. Nothing is written but to registers.
    unsafe {
        asm!(
            // The high half of each word: of what is before the slots, and of slots 0 to 2.
            "movaps {a}, [{line}]",
            "shufps {a}, [{line} + 16], 0xdd",
            // Of slots 3 to 6.
            "movaps {b}, [{line} + 32]",
            "shufps {b}, [{line} + 48], 0xdd",
            // Their high halves are the tags: eight numbers of 16 bits.
            "psrad {a}, 16",
            "psrad {b}, 16",
            "packssdw {a}, {b}",
            // The tag that is looked for, eight times.
            "movd {b}, {tag:e}",
            "pshuflw {b}, {b}, 0",
            "punpcklqdq {b}, {b}",
            // A bit for each of them.
            "pcmpeqw {a}, {b}",
            "packsswb {a}, {a}",
            "pmovmskb {set:e}, {a}",
            line = in(reg) line,
            tag = in(reg) u32::from(tag),
            set = lateout(reg) set,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            options(nostack, readonly, preserves_flags),
        );
    }
    set >> 1 & ((1 << SLOTS) - 1)
}

/// The same where there are no such instructions.
#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn with_tag_one_by_one(line: &Line, tag: u16) -> u32 {
    let has = |at: usize| line.slot(at).0 >> TAG_SHIFT == u64::from(tag);
    (0..SLOTS).rev().fold(0, |set, at| set << 1 | u32::from(has(at)))
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use with_tag_one_by_one as with_tag;

#[cfg(test)]
mod tests {
    use super::super::atomic::{AtomicU32, AtomicU64};
    use super::super::bucket::Slot;
    use super::super::sequence::Sequence;
    use super::*;

    #[test]
    fn slots_are_found_by_their_tag_and_nothing_else() {
        let place = (1 << 46) - 1;
        let tags = [5, 7, 5, u16::MAX, 0x8005, 5].map(|tag| Slot::new(tag, 3, place).0);
        let line = line(u32::MAX, [tags[0], tags[1], tags[2], tags[3], tags[4], tags[5], 0]);
        let with = |tag| (with_tag(&line, tag), with_tag_one_by_one(&line, tag));
        assert_eq!(with(5), (0b10_0101, 0b10_0101));
        assert_eq!((with(7).0, with(u16::MAX).0, with(0x8005).0), (1 << 1, 1 << 3, 1 << 4));
        // The empty one is among those whose tag is zero.
        assert_eq!((with(0).0, with(4).0), (1 << 6, 0));
    }

    #[test]
    fn all_slots_at_once_are_found_as_one_by_one() {
        for tag in [0, 1, 0x7fff, 0x8000, 0xfffe, u16::MAX] {
            for has in 0..1u32 << SLOTS {
                for others in [0, !(u64::from(tag) << TAG_SHIFT), u64::from(!tag) << TAG_SHIFT] {
                    let slot =
                        |at| if has >> at & 1 == 1 { u64::from(tag) << TAG_SHIFT } else { others };
                    let line = line(u32::from(tag) << 16, std::array::from_fn(slot));
                    assert_eq!(with_tag(&line, tag), with_tag_one_by_one(&line, tag), "{line:?}");
                }
            }
        }
    }

    fn line(link: u32, slots: [u64; SLOTS]) -> Line {
        let (sequence, link) = (Sequence::new(), AtomicU32::new(link));
        Line { sequence, link, slots: slots.map(AtomicU64::new) }
    }
}
