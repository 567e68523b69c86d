//! Objects and lists: which field a key names, how often it may stand, how deep it may go.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::scalar::{self, Token};
use super::{Build, JsonFault, Step};
use crate::otlp::schema::{Decl, Form, Label, Msg};

/// Reads one field's value and writes it as protobuf. Gives false if there was none (null).
pub(super) struct Value<'b> {
    pub(super) build: &'b mut Build,
    pub(super) decl: Decl,
    /// How many messages may still open.
    pub(super) depth: u32,
    /// Whether this is an item of the field's list.
    pub(super) item: bool,
}

impl Value<'_> {
    fn is_list(&self) -> bool {
        self.decl.label == Label::Many && !self.item
    }

    fn expected(&self) -> &'static str {
        if self.is_list() { "a list" } else { scalar::expected(self.decl.form) }
    }

    fn scalar<E: Error>(self, token: Token<'_>) -> Result<bool, E> {
        let fault = if self.is_list() {
            JsonFault::Type { expected: self.expected(), found: token.to_string() }
        } else {
            match scalar::write(self.build, self.decl, token) {
                Ok(()) => return Ok(true),
                Err(fault) => fault,
            }
        };
        Err(self.build.fail(fault))
    }

    fn wrong<E: Error>(self, found: &str) -> E {
        let expected = self.expected();
        self.build.fail(JsonFault::Type { expected, found: found.to_owned() })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        if self.item { Err(self.wrong("null")) } else { Ok(false) }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        self.scalar(Token::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.scalar(Token::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.scalar(Token::Int(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        self.scalar(Token::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<bool, E> {
        self.scalar(Token::Str(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<bool, A::Error> {
        if self.is_list() { list(self.build, self.decl, self.depth, items).map(|()| true) } else { Err(self.wrong("a list")) }
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<bool, A::Error> {
        let Form::Message(msg) = self.decl.form else { return Err(self.wrong("an object")) };
        if self.is_list() {
            return Err(self.wrong("an object"));
        }
        let Self { build, decl, depth, .. } = self;
        if decl.is_root() {
            return message(build, msg, depth, fields).map(|()| true);
        }
        if depth == 0 {
            return Err(build.fail(JsonFault::Depth));
        }
        build.room(0).map_err(|fault| build.fail(fault))?;
        let start = build.out.open(decl.number);
        message(build, msg, depth - 1, fields)?;
        build.close(start).map_err(|fault| build.fail(fault))?;
        Ok(true)
    }
}

fn message<'de, A: MapAccess<'de>>(build: &mut Build, msg: Msg, depth: u32, mut fields: A) -> Result<(), A::Error> {
    let mut seen = 0u32;
    while let Some(known) = fields.next_key_seed(Key(msg))? {
        let Some(decl) = known else {
            fields.next_value::<IgnoredAny>()?;
            continue;
        };
        build.path.push(Step::Field(decl.name));
        if fields.next_value_seed(Value { build, decl, depth, item: false })? {
            check_first(msg, decl, seen).map_err(|fault| build.fail(fault))?;
            seen |= 1 << decl.number;
        }
        build.path.pop();
    }
    Ok(())
}

/// Whether `decl` may follow the fields in `seen`, a bit for each number.
fn check_first(msg: Msg, decl: Decl, seen: u32) -> Result<(), JsonFault> {
    if seen & 1 << decl.number != 0 {
        return Err(JsonFault::Twice);
    }
    if decl.label != Label::Either {
        return Ok(());
    }
    let other = msg.fields().iter().find(|other| other.label == Label::Either && seen & 1 << other.number != 0);
    other.map_or(Ok(()), |other| Err(JsonFault::Both(other.name)))
}

fn list<'de, A: SeqAccess<'de>>(build: &mut Build, decl: Decl, depth: u32, mut items: A) -> Result<(), A::Error> {
    let before = build.out.len();
    let start = if decl.is_packed() {
        build.room(0).map_err(|fault| build.fail(fault))?;
        Some(build.out.open(decl.number))
    } else {
        None
    };
    let mut index = 0;
    build.path.push(Step::Item(0));
    while items.next_element_seed(Value { build, decl, depth, item: true })?.is_some() {
        index += 1;
        if let Some(step) = build.path.last_mut() {
            *step = Step::Item(index);
        }
    }
    build.path.pop();
    match start {
        // Packed numbers, none: written as nothing, as prost does.
        Some(_) if index == 0 => build.out.truncate(before),
        Some(start) => build.close(start).map_err(|fault| build.fail(fault))?,
        None => {}
    }
    Ok(())
}

/// Finds the field that a key names; `None` if it is unknown.
struct Key(Msg);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<Decl>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<Decl>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<Decl>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<Decl>, E> {
        Ok(self.0.fields().iter().find(|decl| decl.name == name).copied())
    }
}
