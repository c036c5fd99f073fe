//! Many frames in one call of the kernel.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::units::Timestamp;

/// Frames of a batch.
pub(super) const BATCH: usize = 64;

/// Room for a frame: the longest of an Ethernet with an MTU of 1500 bytes and a tag.
const FRAME_BYTES: usize = 2048;

/// Room for the control message with a frame's time, in words so that it is aligned.
const CONTROL_WORDS: usize = 8;

/// A frame that was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'batch> {
    /// When the kernel saw it, which is also its time in a capture.
    pub(super) at: Timestamp,
    /// Its bytes from the Ethernet header on.
    pub(super) data: &'batch [u8],
    /// It was longer.
    pub(super) cut: bool,
}

/// Memory to receive frames into.
#[derive(Debug)]
pub(super) struct Inbox {
    frames: Vec<[u8; FRAME_BYTES]>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    lengths: Vec<(usize, usize, bool)>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            frames: vec![[0; FRAME_BYTES]; BATCH],
            controls: vec![[0; CONTROL_WORDS]; BATCH],
            lengths: Vec::with_capacity(BATCH),
        }
    }

    /// Receives what waits in a packet socket, at most one batch.
    #[expect(
        unsafe_code,
        reason = "no kept crate receives many frames with their times"
    )]
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.lengths.clear();
        let mut vectors: Vec<libc::iovec> = self
            .frames
            .iter_mut()
            .map(|frame| libc::iovec {
                iov_base: frame.as_mut_ptr().cast(),
                iov_len: FRAME_BYTES,
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .zip(&mut self.controls)
            .map(|(vector, control)| {
                let mut header = empty_header();
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = control.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
                header
            })
            .collect();
        let count = libc::c_uint::try_from(headers.len()).map_err(io::Error::other)?;
        // SAFETY: each header points to a vector and a control buffer that outlive the call, with
        // their sizes; each vector points to a frame of its own.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return none_or_error();
        };
        for header in &headers[..count] {
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let len = (header.msg_len as usize).min(FRAME_BYTES);
            self.lengths.push((len, header.msg_hdr.msg_controllen, cut));
        }
        Ok(count)
    }

    /// The frames of the last batch.
    pub(super) fn frames(&self) -> impl Iterator<Item = Received<'_>> {
        let lengths = self.lengths.iter();
        let parts = lengths.zip(&self.frames).zip(&self.controls);
        parts.map(|(((len, control_len, cut), frame), control)| Received {
            at: time_in(control, *control_len).unwrap_or_else(Timestamp::now),
            data: &frame[..*len],
            cut: *cut,
        })
    }
}

/// The time in a control message (`SCM_TIMESTAMPNS`), which stands alone.
fn time_in(control: &[u64; CONTROL_WORDS], len: usize) -> Option<Timestamp> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let mut bytes = [0; CONTROL_WORDS * size_of::<u64>()];
    for (to, word) in bytes.chunks_exact_mut(size_of::<u64>()).zip(control) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    let bytes = bytes.get(..len)?;
    let number = |at: usize| Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let level = number(offset_of!(libc::cmsghdr, cmsg_level))?;
    let kind = number(offset_of!(libc::cmsghdr, cmsg_type))?;
    if (level, kind) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    let wide = |at: usize| {
        Some(i64::from_ne_bytes(
            *bytes.get(HEADER + at..)?.first_chunk()?,
        ))
    };
    let seconds = u64::try_from(wide(offset_of!(libc::timespec, tv_sec))?).ok()?;
    let nanoseconds = u64::try_from(wide(offset_of!(libc::timespec, tv_nsec))?).ok()?;
    Some(Timestamp(seconds * 1_000_000_000 + nanoseconds))
}

/// Sends frames out of the interface that a packet socket is bound to; gives how many went, which
/// are fewer where the kernel has no room at this moment.
#[expect(unsafe_code, reason = "no kept crate sends many frames")]
pub(super) fn send(socket: BorrowedFd<'_>, frames: &[Vec<u8>]) -> io::Result<usize> {
    let frames = &frames[..frames.len().min(BATCH)];
    let mut vectors: Vec<libc::iovec> = frames
        .iter()
        .map(|frame| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .map(|vector| {
            let mut header = empty_header();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    let count = libc::c_uint::try_from(headers.len()).map_err(io::Error::other)?;
    // SAFETY: each header points to a vector that outlives the call, and each vector to a frame
    // that the kernel only reads.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).or_else(|_| none_or_error())
}

#[expect(unsafe_code, reason = "the structure has padding in some C libraries")]
fn empty_header() -> libc::mmsghdr {
    // SAFETY: all zeros is a value of `mmsghdr`: no name, no vectors, no control message.
    unsafe { std::mem::zeroed() }
}

/// What the last call left: nothing to do at this moment, or an error.
fn none_or_error() -> io::Result<usize> {
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
        _ => Err(error),
    }
}
