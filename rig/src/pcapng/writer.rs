//! Writing pcapng.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::time::Duration;

use pcap_file::pcapng::blocks::custom::CustomUtf8Option;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record as NameRecord,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{Block, PcapNgBlock, PcapNgWriteError, PcapNgWriter};
use pcap_file::{DataLink, Endianness};

use super::delivery::ENTERPRISE;
use super::record::{Direction, Interface, InterfaceId, Record, Section, Statistics};
use crate::units::Timestamp;

/// The longest text that an option can hold: its length field has 16 bits.
const MAX_OPTION_BYTES: usize = u16::MAX as usize;

/// The longest name in a name resolution record: the record's length field has 16 bits, and an
/// address and a terminating zero stand beside the name.
const MAX_NAME_BYTES: usize = u16::MAX as usize - 17;

/// A capture could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {what} of a capture: {}", cause(source))]
pub struct WriteError {
    /// What was to be written.
    what: &'static str,
    /// Why it was not.
    source: PcapNgWriteError,
}

/// What lies behind an error; `pcap-file` does not say itself what the operating system said.
fn cause(error: &PcapNgWriteError) -> String {
    match error {
        PcapNgWriteError::Io(error) => error.to_string(),
        other => match std::error::Error::source(other) {
            Some(source) => format!("{other}: {source}"),
            None => other.to_string(),
        },
    }
}

impl WriteError {
    /// What the operating system said, if it was that.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match &self.source {
            PcapNgWriteError::Io(error) => Some(error),
            _ => None,
        }
    }

    fn of(what: &'static str) -> impl Fn(PcapNgWriteError) -> Self {
        move |source| Self { what, source }
    }
}

/// Writes a pcapng file of one section: interfaces first or as they come, then packets.
///
/// Timestamps are written in nanoseconds. After an error the file is not to be written further.
pub struct Writer<W: Write> {
    inner: PcapNgWriter<BufWriter<W>>,
    interfaces: u32,
    /// Bytes of the blocks behind the section header.
    len_bytes: u64,
    /// Kept between packets, so that one without comments costs no allocation.
    spare_options: Vec<EnhancedPacketOption<'static>>,
}

impl<W: Write> Writer<W> {
    /// Begins a file with its section header.
    pub fn new(writer: W, section: &Section) -> Result<Self, WriteError> {
        let texts = [
            (
                &section.hardware,
                SectionHeaderOption::Hardware as fn(Cow<'static, str>) -> _,
            ),
            (&section.os, SectionHeaderOption::OS),
            (&section.application, SectionHeaderOption::UserApplication),
            (&section.comment, |text| {
                SectionHeaderOption::Common(CommonOption::Comment(text))
            }),
        ];
        let header = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: texts
                .into_iter()
                .filter(|(text, _)| !text.is_empty())
                .map(|(text, option)| option(Cow::Owned(cut(text, MAX_OPTION_BYTES).to_owned())))
                .collect(),
            ..SectionHeaderBlock::default()
        };
        let inner = PcapNgWriter::with_section_header(BufWriter::new(writer), header)
            .map_err(WriteError::of("the section header"))?;
        Ok(Self {
            inner,
            interfaces: 0,
            len_bytes: 0,
            spare_options: Vec::with_capacity(1),
        })
    }

    /// Describes an interface; records name it by the id that comes back.
    pub fn add_interface(&mut self, interface: &Interface) -> Result<InterfaceId, WriteError> {
        let mut options = Vec::with_capacity(3);
        if !interface.name.is_empty() {
            let name = cut(&interface.name, MAX_OPTION_BYTES);
            options.push(InterfaceDescriptionOption::IfName(name.into()));
        }
        if !interface.description.is_empty() {
            let text = cut(&interface.description, MAX_OPTION_BYTES);
            options.push(InterfaceDescriptionOption::IfDescription(text.into()));
        }
        options.push(InterfaceDescriptionOption::IfTsResol(
            InterfaceTsResolution::NANO,
        ));
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::from(u32::from(interface.link.number())),
            snaplen: interface.snaplen_bytes,
            options,
        };
        self.block("an interface", &block.into_block())?;
        let id = InterfaceId(self.interfaces);
        self.interfaces += 1;
        Ok(id)
    }

    /// Writes one packet. Its interface must have been added before.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), WriteError> {
        let mut options: Vec<EnhancedPacketOption<'_>> = std::mem::take(&mut self.spare_options);
        options.extend(
            record
                .direction
                .map(|direction| EnhancedPacketOption::Flags(flags_word(direction))),
        );
        options.extend(record.comments.iter().map(|comment| {
            let comment = cut(comment, MAX_OPTION_BYTES).into();
            EnhancedPacketOption::Common(CommonOption::Comment(comment))
        }));
        options.extend(record.delivery.map(|delivery| {
            EnhancedPacketOption::Common(CommonOption::CustomUtf8Copiable(CustomUtf8Option {
                pen: ENTERPRISE,
                value: delivery.text().into(),
            }))
        }));
        let captured = u32::try_from(record.data.len()).unwrap_or(u32::MAX);
        let block = Block::EnhancedPacket(EnhancedPacketBlock {
            interface_id: record.interface.0,
            timestamp: Duration::from_nanos(record.at.0),
            original_len: record.orig_len_bytes.max(captured),
            data: Cow::Borrowed(&record.data),
            options,
        });
        self.block("a packet", &block)?;
        self.spare_options = block.into_enhanced_packet().map_or_else(Vec::new, emptied);
        Ok(())
    }

    /// Writes names of addresses (name resolution block), so that Wireshark shows hosts by name.
    pub fn names(&mut self, names: &[(IpAddr, String)]) -> Result<(), WriteError> {
        if names.is_empty() {
            return Ok(());
        }
        let records = names
            .iter()
            .filter_map(|(address, name)| name_record(*address, name))
            .collect();
        let block = NameResolutionBlock {
            records,
            options: vec![],
        };
        self.block("names of addresses", &block.into_block())
    }

    /// Writes what an interface had counted at the moment `at`.
    pub fn statistics(
        &mut self,
        interface: InterfaceId,
        at: Timestamp,
        statistics: &Statistics,
    ) -> Result<(), WriteError> {
        let block = InterfaceStatisticsBlock {
            interface_id: interface.0,
            timestamp: Duration::from_nanos(at.0),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(statistics.received),
                InterfaceStatisticsOption::IsbIfDrop(statistics.dropped),
            ],
        };
        self.block("interface statistics", &block.into_block())
    }

    /// How many bytes the blocks behind the section header have, some of which may not have been handed over yet.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Hands everything written so far to the underlying writer.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        let flushed = self.inner.get_mut().flush();
        flushed.map_err(|e| WriteError::of("the end")(e.into()))
    }

    /// Ends the file and gives the underlying writer back.
    pub fn finish(self) -> Result<W, WriteError> {
        let inner = self.inner.into_inner().into_inner();
        inner.map_err(|e| WriteError::of("the end")(e.into_error().into()))
    }

    fn block(&mut self, what: &'static str, block: &Block<'_>) -> Result<(), WriteError> {
        let written = self.inner.write_block(block);
        self.len_bytes += written.map_err(WriteError::of(what))? as u64;
        Ok(())
    }
}

/// The emptied list of a packet's options. Collecting in place keeps its allocation.
fn emptied(block: EnhancedPacketBlock<'_>) -> Vec<EnhancedPacketOption<'static>> {
    block.options.into_iter().map_while(|_| None).collect()
}

/// The `epb_flags` word for a direction: 1 is inbound, 2 outbound.
fn flags_word(direction: Direction) -> u32 {
    match direction {
        Direction::Inbound => 1,
        Direction::Outbound => 2,
    }
}

/// The record of one name; none for a name that the format cannot hold (empty after its first
/// zero byte).
fn name_record(address: IpAddr, name: &str) -> Option<NameRecord<'_>> {
    let name = name.split('\0').next().unwrap_or_default();
    let name = cut(name, MAX_NAME_BYTES);
    if name.is_empty() {
        return None;
    }
    let names = vec![Cow::Borrowed(name)];
    Some(match address {
        IpAddr::V4(ip_addr) => NameRecord::Ipv4(Ipv4Record { ip_addr, names }),
        IpAddr::V6(ip_addr) => NameRecord::Ipv6(Ipv6Record { ip_addr, names }),
    })
}

/// The longest beginning of `text` of at most `max_bytes` that ends between characters.
fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}
