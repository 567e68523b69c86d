//! Who sent a record: resources and scopes, each kept once per batch.

use super::attrs::{AttrIter, Attrs};
use super::store::{Blobs, Ints, Strs};
use super::value::Value;

/// Resources and scopes of a batch, and which of them each row has.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) resources: Resources,
    pub(crate) scopes: Scopes,
    /// Per group, its resource and its scope.
    pub(crate) group_resource: Ints,
    pub(crate) group_scope: Ints,
    /// Per row, its group.
    pub(crate) groups: Ints,
}

/// Distinct resources (with the schema URL beside them), in order of their first row.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    /// 0 = the request had no Resource message.
    pub(crate) present: Ints,
    pub(crate) attrs: Attrs,
    pub(crate) dropped: Ints,
    /// EntityRef fields (tag 3) as wire bytes.
    pub(crate) entity_refs: Blobs,
    pub(crate) schema_url: Strs,
}

/// Distinct scopes (with the schema URL beside them).
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    /// 0 = the request had no InstrumentationScope message.
    pub(crate) present: Ints,
    pub(crate) name: Strs,
    pub(crate) version: Strs,
    pub(crate) attrs: Attrs,
    pub(crate) dropped: Ints,
    pub(crate) schema_url: Strs,
}

impl Origins {
    pub(crate) fn resource(&self, row: usize) -> ResourceRef<'_> {
        ResourceRef { table: &self.resources, index: self.group_resource.get(self.groups.get(row) as usize) as usize }
    }

    pub(crate) fn scope(&self, row: usize) -> ScopeRef<'_> {
        ScopeRef { table: &self.scopes, index: self.group_scope.get(self.groups.get(row) as usize) as usize }
    }
}

/// The resource of a row.
#[derive(Clone, Copy)]
pub struct ResourceRef<'a> {
    table: &'a Resources,
    index: usize,
}

impl<'a> ResourceRef<'a> {
    /// Its number within the batch: equal for rows of the same resource.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the request had a Resource message at all.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.table.present.get(self.index) != 0
    }

    /// Its attributes.
    #[must_use]
    pub fn attrs(&self) -> AttrIter<'a> {
        self.table.attrs.row(self.index)
    }

    /// The first attribute with this key.
    #[must_use]
    pub fn attr(&self, key: &str) -> Option<Value<'a>> {
        self.table.attrs.find(self.index, key)
    }

    /// `dropped_attributes_count`.
    #[must_use]
    pub fn dropped_attributes(&self) -> u32 {
        self.table.dropped.get(self.index) as u32
    }

    /// The schema URL that the request gives beside the resource.
    #[must_use]
    pub fn schema_url(&self) -> &'a str {
        self.table.schema_url.get(self.index)
    }

    /// EntityRef messages as `entity_refs` fields (tag 3) of a Resource, wire bytes.
    #[must_use]
    pub fn entity_refs_wire(&self) -> &'a [u8] {
        self.table.entity_refs.get(self.index)
    }

    pub(crate) fn table(&self) -> &'a Resources {
        self.table
    }
}

/// The instrumentation scope of a row.
#[derive(Clone, Copy)]
pub struct ScopeRef<'a> {
    table: &'a Scopes,
    index: usize,
}

impl<'a> ScopeRef<'a> {
    /// Its number within the batch: equal for rows of the same scope.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the request had an InstrumentationScope message at all.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.table.present.get(self.index) != 0
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.table.name.get(self.index)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &'a str {
        self.table.version.get(self.index)
    }

    /// Its attributes.
    #[must_use]
    pub fn attrs(&self) -> AttrIter<'a> {
        self.table.attrs.row(self.index)
    }

    /// The first attribute with this key.
    #[must_use]
    pub fn attr(&self, key: &str) -> Option<Value<'a>> {
        self.table.attrs.find(self.index, key)
    }

    /// `dropped_attributes_count`.
    #[must_use]
    pub fn dropped_attributes(&self) -> u32 {
        self.table.dropped.get(self.index) as u32
    }

    /// The schema URL that the request gives beside the scope.
    #[must_use]
    pub fn schema_url(&self) -> &'a str {
        self.table.schema_url.get(self.index)
    }

    pub(crate) fn table(&self) -> &'a Scopes {
        self.table
    }
}
