//! One stream of a node's output, which may be endless: what steps listen for is found in all of it, and lines with
//! what checks ask about are counted in all of it, whatever is kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use memchr::memchr;
use memchr::memmem::{self, Finder};

/// How much of what nobody has listened to is kept as it came, in bytes. Of what is older, the places of the texts that
/// steps will listen for.
const MAX_UNHEARD_BYTES: usize = 4 * 1024 * 1024;

/// Places of one text that are kept.
const MAX_PLACES: usize = 65_536;

/// How much of one line is kept, in bytes.
pub(super) const MAX_LINE_BYTES: usize = 256 * 1024;

/// The texts that a cell will look for in a node's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Steps listen for these.
    pub(super) heard: Vec<String>,
    /// Checks ask how many lines contain these.
    pub(super) counted: Vec<String>,
}

/// One stream of a node's output.
#[derive(Debug)]
pub(super) struct Printed {
    unheard: Unheard,
    line: Line,
}

/// A line that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndedLine {
    /// What was kept of it.
    pub(super) text: String,
    /// How many of its bytes were not.
    pub(super) cut_bytes: usize,
}

impl Printed {
    pub(super) fn new(wanted: &Wanted) -> Self {
        Self {
            unheard: Unheard::new(&wanted.heard),
            line: Line::new(&wanted.counted),
        }
    }

    /// Takes in what came; gives the lines that it ends.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<EndedLine> {
        self.unheard.push(bytes);
        let mut ended = Vec::new();
        let mut rest = bytes;
        while let Some(at) = memchr(b'\n', rest) {
            self.line.push(&rest[..at]);
            ended.push(self.line.end());
            rest = &rest[at + 1..];
        }
        self.line.push(rest);
        ended
    }

    /// Takes what has come of a line for a whole one; none where nothing has.
    pub(super) fn end_line(&mut self) -> Option<EndedLine> {
        (self.line.len_bytes > 0).then(|| self.line.end())
    }

    /// What has come of a line that has not ended.
    pub(super) fn unended(&self) -> &[u8] {
        &self.line.kept
    }

    /// Looks for `text` in what was printed since a text was found last.
    pub(super) fn hear(&mut self, text: &str) -> bool {
        self.unheard.hear(text)
    }

    /// How many lines contained each of the texts that checks ask about.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let counted = self.line.counted.iter();
        counted
            .map(|text| (text.text.clone(), text.lines))
            .collect()
    }
}

/// What can still be listened to.
#[derive(Debug)]
struct Unheard {
    bytes: Vec<u8>,
    /// Where in the stream these begin.
    begin: u64,
    /// How far in the stream it was listened to.
    heard: u64,
    /// Where texts stand in what is no longer kept.
    places: HashMap<String, VecDeque<u64>>,
    /// How far each text was looked for in vain.
    searched: HashMap<String, u64>,
}

impl Unheard {
    fn new(wanted: &[String]) -> Self {
        let places = wanted.iter().filter(|text| !text.is_empty());
        Self {
            bytes: Vec::new(),
            begin: 0,
            heard: 0,
            places: places.map(|text| (text.clone(), VecDeque::new())).collect(),
            searched: HashMap::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // By halves, so that what is kept moves once for each byte that comes.
        if self.bytes.len() > 2 * MAX_UNHEARD_BYTES {
            self.forget(self.bytes.len() - MAX_UNHEARD_BYTES);
        }
    }

    /// Forgets the first bytes, but for the places of texts that begin there.
    fn forget(&mut self, count: usize) {
        let heard = self.index(self.heard);
        for (text, places) in &mut self.places {
            for at in memmem::find_iter(&self.bytes[heard.min(count)..], text) {
                let at = heard.min(count) + at;
                if at >= count || places.len() >= MAX_PLACES {
                    break;
                }
                places.push_back(self.begin + at as u64);
            }
        }
        self.bytes.drain(..count);
        self.begin += count as u64;
    }

    fn hear(&mut self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        let Some(found) = self.find(text) else {
            let end = self.begin + self.bytes.len() as u64;
            self.searched.insert(text.to_owned(), end);
            return false;
        };
        self.heard = found.end;
        if let Some(heard) = self.index(self.heard).checked_sub(MAX_UNHEARD_BYTES) {
            self.bytes.drain(..heard);
            self.begin += heard as u64;
        }
        true
    }

    fn find(&mut self, text: &str) -> Option<Range<u64>> {
        let heard = self.heard;
        if let Some(places) = self.places.get_mut(text) {
            while let Some(at) = places.pop_front() {
                if at >= heard {
                    return Some(at..at + text.len() as u64);
                }
            }
        }
        // A text may have begun where the last search ended.
        let overlap = text.len().saturating_sub(1) as u64;
        let searched = self.searched.get(text).copied().unwrap_or_default();
        let from = self.index(heard.max(searched.saturating_sub(overlap)));
        let at = memmem::find(&self.bytes[from..], text.as_bytes())?;
        let at = self.begin + (from + at) as u64;
        Some(at..at + text.len() as u64)
    }

    /// Where a place in the stream is in what is kept.
    fn index(&self, place: u64) -> usize {
        let index = place.saturating_sub(self.begin);
        usize::try_from(index).map_or(self.bytes.len(), |index| index.min(self.bytes.len()))
    }
}

/// The line that is being printed.
#[derive(Debug)]
struct Line {
    kept: Vec<u8>,
    len_bytes: usize,
    /// The end of what came, where the beginning of a text may stand.
    carried: Vec<u8>,
    counted: Vec<Counted>,
}

/// A text whose lines are counted.
#[derive(Debug)]
struct Counted {
    text: String,
    finder: Finder<'static>,
    /// Lines that contain it.
    lines: u64,
    /// The line that is being printed is one of them.
    in_this: bool,
}

impl Line {
    fn new(wanted: &[String]) -> Self {
        let counted = wanted.iter().map(|text| Counted {
            text: text.clone(),
            finder: Finder::new(text.as_bytes()).into_owned(),
            lines: 0,
            in_this: false,
        });
        Self {
            kept: Vec::new(),
            len_bytes: 0,
            carried: Vec::new(),
            counted: counted.collect(),
        }
    }

    fn push(&mut self, part: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&part[..room.min(part.len())]);
        self.len_bytes += part.len();
        let longest = self.counted.iter().map(|counted| counted.text.len()).max();
        let Some(overlap) = longest.map(|longest| longest.saturating_sub(1)) else {
            return;
        };
        let together;
        let looked_at = if self.carried.is_empty() {
            part
        } else {
            together = [&self.carried, part].concat();
            &together
        };
        for counted in self.counted.iter_mut().filter(|counted| !counted.in_this) {
            counted.in_this = counted.finder.find(looked_at).is_some();
        }
        self.carried = looked_at[looked_at.len().saturating_sub(overlap)..].to_vec();
    }

    fn end(&mut self) -> EndedLine {
        for counted in &mut self.counted {
            counted.lines += u64::from(std::mem::take(&mut counted.in_this));
        }
        self.carried.clear();
        let kept = std::mem::take(&mut self.kept);
        let len_bytes = std::mem::take(&mut self.len_bytes);
        let text = String::from_utf8_lossy(&kept);
        EndedLine {
            text: text.trim_end_matches(['\r', '\n']).to_owned(),
            cut_bytes: len_bytes - kept.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(heard: &[&str], counted: &[&str]) -> Printed {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Printed::new(&Wanted {
            heard: texts(heard),
            counted: texts(counted),
        })
    }

    #[test]
    fn a_text_is_heard_however_much_is_printed_before_and_after() {
        let mut printed = printed(&["ready", "done"], &[]);
        let noise = vec![b'x'; 1024 * 1024];
        printed.take(b"one ready two ready done");
        for _ in 0..40 {
            printed.take(&noise);
        }
        printed.take(b"done");
        assert!(printed.hear("ready") && printed.hear("ready"));
        assert!(!printed.hear("ready"));
        assert!(printed.hear("done"));
        for _ in 0..40 {
            printed.take(&noise);
        }
        assert!(printed.hear("done"));
        assert!(!printed.hear("done"));
        assert!(printed.unheard.bytes.len() <= 2 * MAX_UNHEARD_BYTES);
        assert!(printed.unheard.bytes.capacity() <= 5 * MAX_UNHEARD_BYTES);
    }

    #[test]
    fn a_text_that_comes_in_pieces_is_heard_once() {
        for cut in 1.."ciao".len() {
            let mut printed = printed(&["ciao"], &["ciao"]);
            printed.take(&b"ciao"[..cut]);
            assert!(!printed.hear("ciao"));
            printed.take(&b"ciao"[cut..]);
            assert!(printed.hear("ciao"));
            assert!(!printed.hear("ciao"));
            assert_eq!(printed.end_line().unwrap().text, "ciao");
            assert_eq!(printed.counts()["ciao"], 1);
        }
    }

    #[test]
    fn a_text_at_the_border_of_what_is_kept_is_heard_once() {
        // The first bytes that are forgotten end somewhere in one of them.
        let text = format!("<{}>", "a".repeat(95));
        let mut printed = printed(&[&text], &[]);
        let count = 2 * MAX_UNHEARD_BYTES / text.len() + 10;
        for _ in 0..count {
            printed.take(text.as_bytes());
        }
        let begin = usize::try_from(printed.unheard.begin).unwrap();
        assert!(begin > 0 && !begin.is_multiple_of(text.len()), "{begin}");
        let heard = std::iter::from_fn(|| printed.hear(&text).then_some(())).count();
        assert_eq!(heard, count);
    }

    #[test]
    fn lines_are_counted_by_what_they_contain_and_cut_where_they_are_long() {
        let mut printed = printed(&[], &["err", "r"]);
        let ended = printed.take(b"no\nerr err\nr\nerr");
        assert_eq!(ended.len(), 3);
        assert_eq!(printed.unended(), b"err");
        for _ in 0..20 {
            printed.take(&vec![b'x'; 1024 * 1024]);
        }
        let ended = printed.take(b"end\n");
        assert_eq!(ended[0].text.len(), MAX_LINE_BYTES);
        assert_eq!(ended[0].cut_bytes, 20 * 1024 * 1024 + 6 - MAX_LINE_BYTES);
        assert_eq!(printed.end_line(), None);
        let counts = printed.counts();
        assert_eq!((counts["err"], counts["r"]), (2, 3));
    }
}
