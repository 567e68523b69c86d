//! Resources and scopes, interned per batch by their wire bytes and kept as tables of columns.

mod decode;

use std::collections::HashMap;

use super::attrs::{AttrRow, AttrsEncoder};
use super::dictionary::Dictionary;
use super::source::Sources;
use super::streams::{Kind, Streams};
use super::strings;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire, Writer, put_varint};
pub(crate) use decode::origins as decode;

/// A Resource or InstrumentationScope message, if there is one, and the schema URL beside it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Head<'a> {
    pub(crate) message: Option<Reader<'a>>,
    pub(crate) schema_url: &'a [u8],
}

impl Head<'_> {
    /// What makes it distinct, as one string.
    fn key(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(u8::from(self.message.is_some()));
        put_varint(out, self.schema_url.len() as u64);
        out.extend_from_slice(self.schema_url);
        if let Some(message) = &self.message {
            out.extend_from_slice(message.rest());
        }
    }
}

/// One resource or scope; strings are codes.
#[derive(Debug, Clone, Copy)]
struct Row {
    present: bool,
    attrs: AttrRow,
    dropped: u32,
    schema_url: u32,
    name: u32,
    version: u32,
}

/// The tables of resources, scopes and groups (pairs of them) of a batch.
#[derive(Default)]
pub(crate) struct Origins {
    resources: Dictionary,
    scopes: Dictionary,
    groups: HashMap<(u32, u32), u32>,
    pairs: Vec<(u32, u32)>,
    resource_rows: Vec<Row>,
    scope_rows: Vec<Row>,
    resource_attrs: AttrsEncoder,
    scope_attrs: AttrsEncoder,
    /// EntityRef fields of each resource.
    entity_refs: Vec<Vec<u8>>,
    strings: Dictionary,
    key: Vec<u8>,
}

impl Origins {
    pub(crate) fn begin(&mut self) {
        self.resources.begin();
        self.scopes.begin();
        self.groups.clear();
        self.pairs.clear();
        self.resource_rows.clear();
        self.scope_rows.clear();
        self.resource_attrs.begin();
        self.scope_attrs.begin();
        self.entity_refs.clear();
        self.strings.begin();
    }

    /// Number of groups so far.
    pub(crate) fn groups(&self) -> usize {
        self.pairs.len()
    }

    /// The resource's number in this batch.
    pub(crate) fn resource(&mut self, head: &Head<'_>) -> Result<u32, Malformed> {
        head.key(&mut self.key);
        let index = self.resources.code(&self.key);
        if index as usize == self.resource_rows.len() {
            self.add_resource(head)?;
        }
        Ok(index)
    }

    fn add_resource(&mut self, head: &Head<'_>) -> Result<(), Malformed> {
        let mut attrs = self.resource_attrs.start();
        let mut dropped = 0;
        let mut refs = Writer::default();
        let mut r = head.message.unwrap_or(Reader::new(&[]));
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Len) => self.resource_attrs.push(&mut attrs, r.message()?)?,
                (2, Wire::Varint) => dropped = r.varint()? as u32,
                (3, Wire::Len) => refs.bytes(3, r.bytes()?),
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        let attrs = self.resource_attrs.finish(attrs);
        let schema_url = self.strings.code(head.schema_url);
        self.resource_rows.push(Row { present: head.message.is_some(), attrs, dropped, schema_url, name: 0, version: 0 });
        self.entity_refs.push(refs.into_bytes());
        Ok(())
    }

    /// The number of the pair of this resource and this scope.
    pub(crate) fn group(&mut self, resource: u32, scope: &Head<'_>) -> Result<u32, Malformed> {
        scope.key(&mut self.key);
        let index = self.scopes.code(&self.key);
        if index as usize == self.scope_rows.len() {
            self.add_scope(scope)?;
        }
        let next = self.pairs.len() as u32;
        let group = *self.groups.entry((resource, index)).or_insert(next);
        if group == next {
            self.pairs.push((resource, index));
        }
        Ok(group)
    }

    fn add_scope(&mut self, head: &Head<'_>) -> Result<(), Malformed> {
        let mut attrs = self.scope_attrs.start();
        let (mut name, mut version) = ([].as_slice(), [].as_slice());
        let mut dropped = 0;
        let mut r = head.message.unwrap_or(Reader::new(&[]));
        while !r.is_done() {
            match r.key()? {
                (1, Wire::Len) => name = r.bytes()?,
                (2, Wire::Len) => version = r.bytes()?,
                (3, Wire::Len) => self.scope_attrs.push(&mut attrs, r.message()?)?,
                (4, Wire::Varint) => dropped = r.varint()? as u32,
                (field, wire) => r.skip(field, wire, 100)?,
            }
        }
        let attrs = self.scope_attrs.finish(attrs);
        let schema_url = self.strings.code(head.schema_url);
        let (name, version) = (self.strings.code(name), self.strings.code(version));
        self.scope_rows.push(Row { present: head.message.is_some(), attrs, dropped, schema_url, name, version });
        Ok(())
    }

    /// Writes the tables, then each row's group.
    pub(crate) fn emit(&mut self, groups: impl Iterator<Item = u32>, sources: &Sources<'_>, out: &mut Streams) {
        let resources = &self.resource_rows;
        out.number(resources.len() as u64);
        out.ints(resources.iter().map(|row| u64::from(row.present)), 0);
        self.resource_attrs.emit(resources.iter().map(|row| row.attrs), sources, out);
        out.ints(resources.iter().map(|row| u64::from(row.dropped)), 0);
        out.blobs(self.entity_refs.iter().map(Vec::as_slice), Kind::Text);
        self.strings(resources, |row| row.schema_url, out);

        let scopes = &self.scope_rows;
        out.number(scopes.len() as u64);
        out.ints(scopes.iter().map(|row| u64::from(row.present)), 0);
        self.strings(scopes, |row| row.name, out);
        self.strings(scopes, |row| row.version, out);
        self.scope_attrs.emit(scopes.iter().map(|row| row.attrs), sources, out);
        out.ints(scopes.iter().map(|row| u64::from(row.dropped)), 0);
        self.strings(scopes, |row| row.schema_url, out);

        out.number(self.pairs.len() as u64);
        out.ints(self.pairs.iter().map(|pair| u64::from(pair.0)), 0);
        out.ints(self.pairs.iter().map(|pair| u64::from(pair.1)), 0);
        out.ints(groups.map(u64::from), 0);
    }

    /// One string of each row. The dictionary is shared by all such columns, so they are written plain: equal ones in a row cost little.
    fn strings(&self, rows: &[Row], code: impl Fn(&Row) -> u32 + Clone, out: &mut Streams) {
        strings::emit_plain(&self.strings, rows.iter().map(code), Kind::Text, out);
    }
}
