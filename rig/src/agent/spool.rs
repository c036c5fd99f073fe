//! What is recorded on its way to a file: a thread of its own writes it, so that a slow disk or file system holds up
//! nobody who empties rings.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// What is gathered before it is handed over, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

/// Pieces that may wait to be written: memory that is only taken where the file does not keep up.
const MAX_PIECES: usize = 64;

enum Piece {
    Bytes(Vec<u8>),
    /// To be answered once all before it is written.
    Flush(SyncSender<()>),
}

/// A writer that does not wait for its file, until very much is to be written.
#[derive(Debug)]
pub(super) struct Spool {
    gathered: Vec<u8>,
    pieces: SyncSender<Piece>,
    /// None once it was asked why it ended.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Spool {
    /// Writes to `file` on a thread of its own; it ends with this.
    pub(super) fn new(file: impl Write + Send + 'static) -> io::Result<Self> {
        let (pieces, receiver) = sync_channel(MAX_PIECES);
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || write_all(file, &receiver))?;
        Ok(Self {
            gathered: Vec::with_capacity(PIECE_BYTES),
            pieces,
            thread: Some(thread),
        })
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(PIECE_BYTES);
        let bytes = std::mem::replace(&mut self.gathered, next);
        let sent = self.pieces.send(Piece::Bytes(bytes));
        sent.map_err(|_| self.failure())
    }

    /// Why nothing is written any more.
    fn failure(&mut self) -> io::Error {
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(Err(error))) => error,
            _ => io::Error::other("the thread that writes has ended"),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() + bytes.len() > PIECE_BYTES {
            self.hand_over()?;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Waits until everything is in the file.
    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()?;
        let (done, written) = sync_channel(1);
        let asked = self.pieces.send(Piece::Flush(done));
        // The thread drops the other end where it has failed.
        let answered = asked.is_ok() && written.recv().is_ok();
        if answered {
            Ok(())
        } else {
            Err(self.failure())
        }
    }
}

/// Writes until nobody hands anything over any more.
fn write_all(mut file: impl Write, pieces: &Receiver<Piece>) -> io::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => file.write_all(&bytes)?,
            Piece::Flush(done) => {
                file.flush()?;
                // Whoever asked has given up.
                done.send(()).ok();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    /// A file that takes its time, and no more than so many bytes.
    struct Slow(Arc<Mutex<Vec<u8>>>, usize);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(5));
            let mut file = self.0.lock().unwrap();
            if file.len() + bytes.len() > self.1 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            file.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order_by_the_time_of_a_flush() {
        let file = Arc::default();
        let mut spool = Spool::new(Slow(Arc::clone(&file), usize::MAX)).unwrap();
        let mut expected = Vec::new();
        for number in 0..200u8 {
            let bytes = vec![number; 50_000];
            spool.write_all(&bytes).unwrap();
            expected.extend(bytes);
        }
        assert!(file.lock().unwrap().len() < expected.len());
        spool.flush().unwrap();
        assert!(*file.lock().unwrap() == expected);
    }

    #[test]
    fn a_file_that_takes_no_more_is_an_error() {
        let mut spool = Spool::new(Slow(Arc::default(), 3 * PIECE_BYTES)).unwrap();
        let piece = vec![0; PIECE_BYTES];
        // Those that wait are taken at first.
        let failed = (0..=2 * MAX_PIECES).find_map(|_| spool.write_all(&piece).err());
        let failed = failed.or_else(|| spool.flush().err()).unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        assert!(spool.flush().is_err());
    }
}
