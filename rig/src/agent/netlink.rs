//! Requests to the kernel over netlink (`netlink(7)`).

use std::io;

use netlink_packet_core::{
    NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// Room for one datagram of the kernel's answer; it fills at most 32 KiB of a reader's buffer.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// Sends a whole message and reads the answer up to its end, or until there are `most` messages.
/// `read` makes something of each, which it also gets as it came, its header included; it may pass one
/// over.
pub(super) fn ask<M, T>(
    protocol: isize,
    message: &NetlinkMessage<M>,
    most: usize,
    read: impl Fn(M, &[u8]) -> Option<T>,
) -> io::Result<Vec<T>>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = Socket::new(protocol)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    let mut buffer = Vec::with_capacity(DATAGRAM_BYTES);
    // The kernel answers within the call that asks, so nothing is ever waited for. Each datagram
    // holds a message at least and the answer ends, so this loop does.
    loop {
        buffer.clear();
        socket.recv(&mut buffer, libc::MSG_DONTWAIT)?;
        let ended = read_datagram(&buffer, &read, &mut found)?;
        if ended || found.len() >= most {
            return Ok(found);
        }
    }
}

/// Reads the messages of a datagram; gives whether the answer has ended.
fn read_datagram<M: NetlinkDeserializable, T>(
    mut bytes: &[u8],
    read: impl Fn(M, &[u8]) -> Option<T>,
    found: &mut Vec<T>,
) -> io::Result<bool> {
    if bytes.is_empty() {
        return Err(io::Error::other("the kernel sent an empty answer"));
    }
    while !bytes.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(bytes)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let length = message.header.length as usize;
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => found.extend(read(inner, bytes)),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => match error.code {
                Some(_) => return Err(error.to_io()),
                None => return Ok(true),
            },
            _ => {}
        }
        // Messages start on multiples of four bytes.
        let step = length.max(1).next_multiple_of(4).min(bytes.len());
        bytes = &bytes[step..];
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use netlink_packet_sock_diag::SockDiagMessage;

    use super::*;

    #[test]
    fn a_broken_answer_is_an_error() {
        let mut found = Vec::new();
        let whole = |message: SockDiagMessage, _: &[u8]| Some(message);
        for bytes in [&[][..], &[0; 3], &[0; 16], &[255; 40]] {
            let ended = read_datagram(bytes, whole, &mut found);
            assert!(ended.is_err(), "{bytes:?}");
        }
    }
}
