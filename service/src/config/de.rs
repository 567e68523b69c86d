//! From the tree into a configuration's own type, so that every error carries its key and place.
//!
//! Stricter than YAML where it helps (a key that the type does not know is always an error, with
//! `deny_unknown_fields` or without), and more lenient where it cannot hurt: a number stands where
//! text is wanted (`name: 1.10`), and a section with all its keys commented out is an empty one.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Origin;
use super::fault::Fault;
use super::tree::{Entry, Kind, Leaf, Node, Step, Value};

/// For a number type: what the environment's text says, if it is such a number, else any.
macro_rules! number {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match &self.value {
                Value::Leaf(leaf) if leaf.kind == Kind::Environment => {
                    visit_number(&leaf.text, visitor).map_err(|fault: Fault| fault.within(self))
                }
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let visited = match &self.value {
            Value::List(items) => return visit_list(self, items.iter(), visitor),
            Value::Map(entries) => return visit_map(self, entries, None, visitor),
            Value::Leaf(leaf) => match leaf.kind {
                Kind::Null => visitor.visit_unit(),
                Kind::Bool(value) => visitor.visit_bool(value),
                Kind::Unsigned(value) => visitor.visit_u64(value),
                Kind::Signed(value) => visitor.visit_i64(value),
                Kind::Float(value) => visitor.visit_f64(value),
                Kind::Text => visitor.visit_borrowed_str(&leaf.text),
                Kind::Environment => match leaf.text.as_str() {
                    "true" => visitor.visit_bool(true),
                    "false" => visitor.visit_bool(false),
                    text => visit_number(text, visitor),
                },
            },
        };
        visited.map_err(|fault: Fault| fault.within(self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Leaf(Leaf { text, kind: Kind::Environment }) => match text.as_str() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                text => visitor.visit_borrowed_str(text),
            }
            .map_err(|fault: Fault| fault.within(self)),
            _ => self.deserialize_any(visitor),
        }
    }

    number! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Leaf(leaf) if leaf.kind != Kind::Null => {
                visitor.visit_borrowed_str(&leaf.text).map_err(|fault: Fault| fault.within(self))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let none = match &self.value {
            Value::Leaf(leaf) => match leaf.kind {
                Kind::Null => true,
                Kind::Environment => leaf.text.is_empty(),
                _ => false,
            },
            _ => false,
        };
        if none { visitor.visit_none() } else { visitor.visit_some(self) }.map_err(|fault: Fault| fault.within(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self).map_err(|fault: Fault| fault.within(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Map(entries) if is_list_by_index(self, entries) => visit_list(self, entries.iter().map(|entry| &entry.node), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _name: &'static str, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Leaf(leaf) if leaf.kind == Kind::Null => visit_map(self, &[], None, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Map(entries) => visit_map(self, entries, Some(fields), visitor),
            // A list would be taken for the fields in order, which nobody means.
            Value::List(_) => Err(Fault::invalid_type(Unexpected::Seq, &"a mapping of keys").within(self)),
            Value::Leaf(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (variant, origin, content) = match &self.value {
            Value::Leaf(leaf) if leaf.kind != Kind::Null => (leaf.text.as_str(), &self.origin, None),
            Value::Map(entries) => match entries.as_slice() {
                [entry] => (entry.key.as_str(), &entry.key_origin, Some(&entry.node)),
                _ => return Err(Fault::new(one_key(variants)).within(self)),
            },
            _ => return Err(Fault::new(one_key(variants)).within(self)),
        };
        visitor.visit_enum(Variant { name: variant, origin, content }).map_err(|fault: Fault| fault.within(self))
    }

    /// Called for a key that the type does not have.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Fault> {
        Err(Fault::new("unknown key: nothing reads it; remove it"))
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct }
}

fn visit_number<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, Fault> {
    if let Ok(value) = text.parse::<u64>() {
        visitor.visit_u64(value)
    } else if let Ok(value) = text.parse::<i64>() {
        visitor.visit_i64(value)
    } else if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.'))
        && let Ok(value) = text.parse::<f64>()
    {
        visitor.visit_f64(value)
    } else {
        visitor.visit_borrowed_str(text)
    }
}

/// A list that only the environment has (`TIERS__0__PATH`) arrives as a map of indices.
fn is_list_by_index(node: &Node, entries: &[Entry]) -> bool {
    matches!(node.origin, Origin::Environment(_)) && entries.iter().enumerate().all(|(index, entry)| entry.key == index.to_string())
}

fn one_key(variants: &[&str]) -> String {
    format!("expected one of {}", variants.join(", "))
}

fn visit_list<'de, V: Visitor<'de>>(
    node: &'de Node,
    items: impl ExactSizeIterator<Item = &'de Node>,
    visitor: V,
) -> Result<V::Value, Fault> {
    let len = items.len();
    let mut list = List { items: items.enumerate() };
    let value = visitor.visit_seq(&mut list).map_err(|fault| fault.within(node))?;
    if list.items.len() > 0 {
        let taken = len - list.items.len();
        return Err(Fault::new(format!("found {len} values: expected {taken}")).within(node));
    }
    Ok(value)
}

struct List<I> {
    items: std::iter::Enumerate<I>,
}

impl<'de, I: ExactSizeIterator<Item = &'de Node>> SeqAccess<'de> for &mut List<I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(node).map(Some).map_err(|fault| fault.within(node).under(Step::Index(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

fn visit_map<'de, V: Visitor<'de>>(
    node: &'de Node,
    entries: &'de [Entry],
    fields: Option<&'static [&'static str]>,
    visitor: V,
) -> Result<V::Value, Fault> {
    visitor.visit_map(Map { entries: entries.iter(), current: None, fields }).map_err(|fault: Fault| fault.within(node))
}

struct Map<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
    /// All the keys there are, if the target is a struct.
    fields: Option<&'static [&'static str]>,
}

impl<'de> MapAccess<'de> for Map<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some(entry);
        let place = |fault: Fault| fault.at(&entry.key_origin).under(Step::Key(entry.key.clone()));
        if let Some(fields) = self.fields
            && !fields.contains(&entry.key.as_str())
        {
            return Err(place(Fault::unknown_field(&entry.key, fields)));
        }
        seed.deserialize(Key(&entry.key)).map(Some).map_err(place)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some(entry) = self.current.take() else {
            return Err(Fault::new("a value was asked for before its key"));
        };
        seed.deserialize(&entry.node).map_err(|fault| fault.within(&entry.node).under(Step::Key(entry.key.clone())))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A map's key: text, or a number if the map's keys are numbers.
struct Key<'de>(&'de str);

macro_rules! numeric_key {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visit_number(self.0, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let name: StrDeserializer<'de, Fault> = self.0.into_deserializer();
        visitor.visit_enum(name)
    }

    numeric_key! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

/// An enum's variant: alone as text, or as the only key of a map with its content.
struct Variant<'de> {
    name: &'de str,
    origin: &'de Origin,
    content: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Fault;
    type Variant = Content<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content<'de>), Fault> {
        let variant = seed.deserialize(Key(self.name)).map_err(|fault| {
            let fault = fault.at(self.origin);
            match self.content {
                Some(_) => fault.under(Step::Key(self.name.to_owned())),
                None => fault,
            }
        })?;
        Ok((variant, Content { name: self.name, node: self.content }))
    }
}

struct Content<'de> {
    name: &'de str,
    node: Option<&'de Node>,
}

impl<'de> Content<'de> {
    fn deserialize<T>(self, read: impl FnOnce(&'de Node) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some(node) = self.node else {
            return Err(Fault::new(format!("{} needs values of its own: write it as a key with them below it", self.name)));
        };
        read(node).map_err(|fault| fault.within(node).under(Step::Key(self.name.to_owned())))
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.node {
            None => Ok(()),
            Some(_) => self.deserialize(|node| match &node.value {
                Value::Leaf(leaf) if leaf.kind == Kind::Null => Ok(()),
                Value::Map(entries) if entries.is_empty() => Ok(()),
                _ => Err(Fault::new("takes no values of its own: remove them")),
            }),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.deserialize(|node| seed.deserialize(node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize(|node| node.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.deserialize(|node| node.deserialize_struct("", fields, visitor))
    }
}
