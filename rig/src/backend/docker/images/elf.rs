//! How a program is linked.

/// Whether an ELF file asks for an interpreter (`PT_INTERP`, System V ABI chapter 5).
pub(super) fn is_dynamic(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let word = |at: usize, len: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, &byte| value << 8 | usize::from(byte)),
        )
    };
    let headers = || {
        let (start, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
        Some((0..count).filter_map(move |index| word(start + index * size, 4)))
    };
    headers().is_some_and(|mut types| types.any(|kind| kind == PT_INTERP as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_static_and_the_shell_is_not() {
        assert!(!is_dynamic(&std::fs::read("/proc/self/exe").unwrap()));
        assert!(is_dynamic(&std::fs::read("/bin/sh").unwrap()));
        assert!(!is_dynamic(b""));
    }
}
