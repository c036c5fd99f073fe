//! A record as a line of JSON.
//!
//! `serde_json` looks for what must be escaped in every key, and writes a key in five pieces. The keys of
//! a record are names that need no escapes, and there are thirty of them for each flow, so here they are
//! written as they are; the values are `serde_json`'s.

use serde::Serialize;
use serde::ser::{Error as _, Impossible, SerializeStruct, Serializer};
use serde_json::Error;

/// Appends a record, with the members of another behind its own, and a line end.
///
/// # Errors
/// A value that JSON has no form for; what is written then is of no use.
pub(super) fn append(
    line: &mut Vec<u8>,
    record: &impl Serialize,
    more: Option<&impl Serialize>,
) -> Result<(), Error> {
    record.serialize(Object { line, before: b'{' })?;
    if let Some(more) = more {
        // The end of the object.
        line.pop();
        more.serialize(Object { line, before: b',' })?;
    }
    line.push(b'\n');
    Ok(())
}

/// Takes a struct and nothing else.
struct Object<'a> {
    line: &'a mut Vec<u8>,
    /// What stands before its first key.
    before: u8,
}

/// A struct that is being written.
struct Members<'a> {
    line: &'a mut Vec<u8>,
    /// What stands before the next key.
    before: u8,
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.line.reserve(key.len() + 4);
        self.line.push(self.before);
        self.line.push(b'"');
        self.line.extend_from_slice(key.as_bytes());
        self.line.extend_from_slice(b"\":");
        self.before = b',';
        value.serialize(&mut serde_json::Serializer::new(&mut *self.line))
    }

    fn end(self) -> Result<(), Error> {
        if self.before == b'{' {
            self.line.push(b'{');
        }
        self.line.push(b'}');
        Ok(())
    }
}

/// Refuses what is no struct.
macro_rules! refuse {
    ($($method:ident($($of:ty),*) -> $kind:ty;)*) => {
        $(fn $method(self, $(_: $of),*) -> Result<$kind, Error> {
            Err(no_struct())
        })*
    };
}

fn no_struct() -> Error {
    Error::custom("a line is an object")
}

type No = Impossible<(), Error>;

impl<'a> Serializer for Object<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = No;
    type SerializeTuple = No;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = No;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Error> {
        Ok(Members {
            line: self.line,
            before: self.before,
        })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(no_struct())
    }

    refuse! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> No;
        serialize_tuple(usize) -> No;
        serialize_tuple_struct(&'static str, usize) -> No;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No;
        serialize_map(Option<usize>) -> No;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> No;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Record<'a> {
        #[serde(rename = "id.orig_h")]
        host: std::net::IpAddr,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        seconds: f64,
        none: Option<u8>,
        list: Vec<f64>,
    }

    #[derive(Serialize)]
    struct More {
        more: bool,
    }

    #[test]
    fn a_line_is_what_serde_json_writes() {
        let record = Record {
            host: [10, 0, 0, 1].into(),
            text: "a \"quoted\" \u{1b} text",
            left_out: None,
            seconds: 0.1,
            none: None,
            list: vec![1.0, 2.5],
        };
        let mut line = Vec::new();
        append(&mut line, &record, None::<&()>).unwrap();
        let expected = serde_json::to_string(&record).unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), expected.clone() + "\n");
        let mut line = Vec::new();
        append(&mut line, &record, Some(&More { more: true })).unwrap();
        let more = expected.replace('}', ",\"more\":true}\n");
        assert_eq!(String::from_utf8(line).unwrap(), more);
    }

    #[test]
    fn an_empty_record_is_an_empty_object_and_a_number_is_none() {
        #[derive(Serialize)]
        struct Empty {}
        let mut line = Vec::new();
        append(&mut line, &Empty {}, None::<&()>).unwrap();
        assert_eq!(line, b"{}\n");
        assert!(append(&mut line, &1, None::<&()>).is_err());
        assert!(append(&mut line, &[1, 2], None::<&()>).is_err());
    }
}
