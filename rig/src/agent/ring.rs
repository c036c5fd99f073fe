//! A capture ring: memory that the kernel fills with the packets of one interface, in blocks
//! (`TPACKET_V3`, `Documentation/networking/packet_mmap.rst` of Linux).
//!
//! The kernel hands a block over when it is full, or when its first packet has waited for
//! [`RETIRE_MS`]. While a block is ours the kernel does not write to it; giving it back is one
//! atomic store.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::bpf::{Instruction, assemble};
use super::sys;
use crate::plan::CapturePlan;
use crate::units::Timestamp;

/// Size of a block: room for the largest packet, one of the loopback interface.
const BLOCK_BYTES: u32 = 128 * 1024;

/// What the kernel is told to be the size of a packet; version 3 only uses it to check the sizes
/// of the ring.
const FRAME_BYTES: u32 = 2048;

/// Longest time that a packet waits in a block that is not full, in milliseconds.
const RETIRE_MS: u32 = 5;

/// The longest packet that a ring records whole: a block less its own header.
pub(super) const SNAPLEN_BYTES: u32 = BLOCK_BYTES - 128;

/// Where the block header starts in a block, after its version and the place of its private part.
const BLOCK_HEADER: usize = offset_of!(libc::tpacket_block_desc, hdr);
const BLOCK_STATUS: usize = BLOCK_HEADER + offset_of!(libc::tpacket_hdr_v1, block_status);
const PACKET_COUNT: usize = BLOCK_HEADER + offset_of!(libc::tpacket_hdr_v1, num_pkts);
const FIRST_PACKET: usize = BLOCK_HEADER + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt);

/// Where the link address stands behind a packet's header, and in it the packet's type.
const PACKET_TYPE: usize = size_of::<libc::tpacket3_hdr>()
    .next_multiple_of(libc::TPACKET_ALIGNMENT)
    + offset_of!(libc::sockaddr_ll, sll_pkttype);

/// A packet in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'ring> {
    /// When the kernel saw it.
    pub(super) at: Timestamp,
    /// Whether this host sent it.
    pub(super) outgoing: bool,
    /// Its length on the wire in bytes.
    pub(super) orig_len_bytes: u32,
    /// Its bytes from the Ethernet header on.
    pub(super) data: &'ring [u8],
}

/// The ring of one interface.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    /// How many blocks it has. A packet every now and then takes a block each [`RETIRE_MS`], so it is their number that
    /// decides how long the reader may wait.
    blocks: u32,
    /// The block that the kernel fills next.
    block: u32,
    /// How many bytes of a packet the kernel was asked for.
    snap_bytes: u32,
    /// `PACKET_STATISTICS` so far; the kernel forgets them when it is asked.
    received: u64,
    dropped: u64,
}

#[expect(
    unsafe_code,
    reason = "the ring's memory belongs to the process, not a thread"
)]
// SAFETY: `memory` is a mapping that only this value refers to, valid on every thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Opens a ring that records every packet of an interface, in both directions.
    ///
    /// The order matters: no packet may enter the ring before its times are those of the kernel's
    /// real-time clock and its layout is known, so the socket is bound last.
    pub(super) fn open(interface_index: i32, plan: CapturePlan) -> io::Result<Self> {
        let socket = sys::packet_socket()?;
        let fd = socket.as_fd();
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        sys::set_option(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1)?;
        let blocks = plan.ring_bytes.div_ceil(BLOCK_BYTES);
        sys::set_option(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &layout(blocks))?;
        if let Some(snap) = plan.snap_bytes {
            // What a filter answers is how much of the packet it wants.
            let beginning = [Instruction::Do(libc::BPF_RET | libc::BPF_K, snap)];
            sys::attach_filter(fd, &mut assemble(&beginning))?;
        }
        let memory = map(fd, ring_bytes(blocks))?;
        let ring = Self {
            socket,
            memory,
            blocks,
            block: 0,
            snap_bytes: plan.snap_bytes.unwrap_or(SNAPLEN_BYTES),
            received: 0,
            dropped: 0,
        };
        sys::bind_to_interface(ring.socket.as_fd(), interface_index)?;
        Ok(ring)
    }

    /// Calls `each` for every packet that is ready, in the order in which the kernel saw them;
    /// gives the number of packets that were unreadable, or cut shorter than was asked for. At most one round of the ring, so
    /// that one busy interface cannot starve the others.
    pub(super) fn read_ready(&mut self, mut each: impl FnMut(Frame<'_>)) -> u64 {
        let mut damaged = 0;
        for _ in 0..self.blocks {
            if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                break;
            }
            let packets = Packets::of(self.ready_block());
            let expected = packets.left;
            let mut seen = 0;
            for frame in packets {
                seen += 1;
                let whole = frame.orig_len_bytes.min(self.snap_bytes) as usize;
                damaged += u64::from(frame.data.len() < whole);
                each(frame);
            }
            damaged += u64::from(expected - seen);
            self.status()
                .store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.block = (self.block + 1) % self.blocks;
        }
        damaged
    }

    /// Packets that the kernel put into the ring, and packets that it dropped for want of room,
    /// since the ring was opened. (The kernel counts a dropped packet among the received ones too.)
    pub(super) fn statistics(&mut self) -> io::Result<(u64, u64)> {
        let latest = sys::packet_statistics(self.socket.as_fd())?;
        self.received += u64::from(latest.tp_packets.saturating_sub(latest.tp_drops));
        self.dropped += u64::from(latest.tp_drops);
        Ok((self.received, self.dropped))
    }

    #[expect(unsafe_code, reason = "the memory is shared with the kernel")]
    fn status(&self) -> &AtomicU32 {
        // SAFETY: the place is inside the mapping (`block` < `blocks`) and aligned, as blocks start
        // on pages; kernel and process only touch it whole.
        unsafe {
            let place = self.memory.as_ptr().add(self.block_start() + BLOCK_STATUS);
            AtomicU32::from_ptr(place.cast())
        }
    }

    /// Where the block that is next starts in the memory.
    fn block_start(&self) -> usize {
        self.block as usize * BLOCK_BYTES as usize
    }

    /// The block that the kernel has handed over.
    #[expect(unsafe_code, reason = "the memory is shared with the kernel")]
    fn ready_block(&self) -> &[u8] {
        // SAFETY: the range is inside the mapping, and the kernel does not write to a block from
        // the moment it set TP_STATUS_USER until it is given back.
        unsafe {
            let start = self.memory.as_ptr().add(self.block_start());
            std::slice::from_raw_parts(start, BLOCK_BYTES as usize)
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    #[expect(unsafe_code, reason = "the mapping was made by hand")]
    fn drop(&mut self) {
        // SAFETY: the mapping has this size and nothing borrows from it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), ring_bytes(self.blocks)) };
    }
}

/// Memory of so many blocks.
fn ring_bytes(blocks: u32) -> usize {
    blocks as usize * BLOCK_BYTES as usize
}

fn layout(blocks: u32) -> libc::tpacket_req3 {
    libc::tpacket_req3 {
        tp_block_size: BLOCK_BYTES,
        tp_block_nr: blocks,
        tp_frame_size: FRAME_BYTES,
        tp_frame_nr: blocks * (BLOCK_BYTES / FRAME_BYTES),
        tp_retire_blk_tov: RETIRE_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    }
}

#[expect(unsafe_code, reason = "the kernel's ring is mapped by hand")]
fn map(socket: BorrowedFd<'_>, len_bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len_bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            socket.as_raw_fd(),
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("the ring is at address 0"))
}

/// The packets of a block. Ends early where a header points out of the block.
struct Packets<'block> {
    block: &'block [u8],
    at: usize,
    left: u32,
}

impl<'block> Packets<'block> {
    fn of(block: &'block [u8]) -> Self {
        Self {
            block,
            at: read_u32(block, FIRST_PACKET).map_or(usize::MAX, |at| at as usize),
            left: read_u32(block, PACKET_COUNT).unwrap_or(0),
        }
    }
}

impl<'block> Iterator for Packets<'block> {
    type Item = Frame<'block>;

    fn next(&mut self) -> Option<Frame<'block>> {
        if self.left == 0 {
            return None;
        }
        let packet = self.block.get(self.at..)?;
        let field = |offset| read_u32(packet, offset);
        let seconds = field(offset_of!(libc::tpacket3_hdr, tp_sec))?;
        let nanoseconds = field(offset_of!(libc::tpacket3_hdr, tp_nsec))?;
        let kept = field(offset_of!(libc::tpacket3_hdr, tp_snaplen))? as usize;
        let start = usize::from(read_u16(packet, offset_of!(libc::tpacket3_hdr, tp_mac))?);
        let frame = Frame {
            at: Timestamp(u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds)),
            outgoing: *packet.get(PACKET_TYPE)? == libc::PACKET_OUTGOING,
            orig_len_bytes: field(offset_of!(libc::tpacket3_hdr, tp_len))?,
            data: packet.get(start..)?.get(..kept)?,
        };
        self.at += field(offset_of!(libc::tpacket3_hdr, tp_next_offset))? as usize;
        self.left -= 1;
        Some(frame)
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of two packets as the kernel lays it out.
    fn block() -> Vec<u8> {
        let mut block = vec![0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(PACKET_COUNT, &2u32.to_ne_bytes());
        put(FIRST_PACKET, &48u32.to_ne_bytes());
        for (start, next, kind, data) in [
            (48usize, 160u32, libc::PACKET_OUTGOING, b"first".as_slice()),
            (208, 0, 0, b"second"),
        ] {
            put(start, &next.to_ne_bytes());
            put(start + 4, &7u32.to_ne_bytes());
            put(start + 8, &9u32.to_ne_bytes());
            put(
                start + 12,
                &u32::try_from(data.len()).unwrap().to_ne_bytes(),
            );
            put(start + 16, &1500u32.to_ne_bytes());
            put(start + 24, &82u16.to_ne_bytes());
            put(start + PACKET_TYPE, &[kind]);
            put(start + 82, data);
        }
        block
    }

    #[test]
    fn packets_come_out_as_the_kernel_put_them_in() {
        let block = block();
        let frames: Vec<_> = Packets::of(&block).collect();
        let first = Frame {
            at: Timestamp(7_000_000_009),
            outgoing: true,
            orig_len_bytes: 1500,
            data: b"first",
        };
        let second = Frame {
            outgoing: false,
            data: b"second",
            ..first
        };
        assert_eq!(frames, [first, second]);
    }

    #[test]
    fn a_header_that_points_out_of_its_block_ends_the_block() {
        let mut wrong = block();
        wrong[48..52].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Packets::of(&wrong).count(), 1);
        wrong[FIRST_PACKET..FIRST_PACKET + 4].copy_from_slice(&505u32.to_ne_bytes());
        assert_eq!(Packets::of(&wrong).count(), 0);
        assert_eq!(Packets::of(&[]).count(), 0);
    }
}
