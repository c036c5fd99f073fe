//! A capture whose section header is known last: what it tells of the packets is known when all are written.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::net::IpAddr;

use super::merge::{MergeError, section, snaplen_bytes};
use super::record::{Interface, InterfaceId, Record, Section, Statistics};
use super::writer::Writer;
use crate::units::Timestamp;

/// A capture that is written to a file of its own first.
pub struct Spool {
    writer: Writer<File>,
}

impl Spool {
    /// Begins with interfaces and names in an empty file.
    pub fn new(
        file: File,
        interfaces: &[Interface],
        names: &[(IpAddr, String)],
    ) -> Result<Self, MergeError> {
        let mut writer = Writer::new(file, &Section::default())?;
        let snaplen_bytes = snaplen_bytes(interfaces);
        for interface in interfaces {
            writer.add_interface(&Interface {
                snaplen_bytes,
                ..interface.clone()
            })?;
        }
        // Before the packets, so that the names are known to whoever reads it as a stream.
        writer.names(names)?;
        Ok(Self { writer })
    }

    /// Adds the next packet.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), MergeError> {
        Ok(self.writer.write(record)?)
    }

    /// How many bytes were written so far.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.writer.len_bytes()
    }

    /// Ends the capture, whose comment is known now.
    pub fn close(
        mut self,
        statistics: &[(InterfaceId, Timestamp, Statistics)],
        comment: String,
    ) -> Result<Closed, MergeError> {
        for (interface, at, statistics) in statistics {
            self.writer.statistics(*interface, *at, statistics)?;
        }
        let mut file = self.writer.finish()?;
        // A block begins with its type and its length.
        let mut head = [0; 8];
        file.rewind().map_err(MergeError::Io)?;
        file.read_exact(&mut head).map_err(MergeError::Io)?;
        let [.., a, b, c, d] = head;
        let len = u64::from(u32::from_ne_bytes([a, b, c, d]));
        let all = file.metadata().map_err(MergeError::Io)?.len();
        file.seek(SeekFrom::Start(len)).map_err(MergeError::Io)?;
        let header = Writer::new(Vec::new(), &section(comment))?.finish()?;
        Ok(Closed {
            len_bytes: header.len() as u64 + all.saturating_sub(len),
            header,
            rest: file,
        })
    }
}

/// A capture that is complete, and stands in a file of its own.
pub struct Closed {
    header: Vec<u8>,
    /// What follows its header.
    rest: File,
    len_bytes: u64,
}

impl Closed {
    /// Its length in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Writes it to where it belongs.
    pub fn write_to(mut self, mut out: impl Write) -> std::io::Result<()> {
        out.write_all(&self.header)?;
        std::io::copy(&mut self.rest, &mut out)?;
        out.flush()
    }
}
