//! Shapes as a trie: a node is a list of (key, type), an edge adds one. Stepping compares the key with the few keys that followed before,
//! so that a known shape is found without hashing any key.
//!
//! Bounded: the trie grows to [`MAX_NODES`] and [`MAX_COLUMNS`] and then refuses; its owner starts it afresh with the next batch.

use std::collections::HashMap;

use super::Type;
use crate::codec::dictionary::equal;

/// Shapes and their prefixes.
const MAX_NODES: usize = 1 << 14;
/// Pairs of key and type.
const MAX_COLUMNS: usize = 1 << 11;
/// Bytes of keys.
const MAX_KEY_BYTES: usize = 1 << 20;
/// Edges of a node that are compared one by one; beyond them, a hash map.
const MAX_HOPS: usize = 8;

const NONE: u32 = u32::MAX;

/// The empty shape.
pub(super) const ROOT: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: u32,
    /// The column that the last step added.
    column: u32,
    first_edge: u32,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    column: u32,
    child: u32,
    next: u32,
}

/// A key with a type.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) of: Type,
    pub(super) name: Box<[u8]>,
}

/// The trie and its columns.
#[derive(Debug)]
pub(super) struct Shapes {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    keys: Vec<Key>,
    by_name: HashMap<Box<[u8]>, [u32; Type::ALL.len()]>,
    children: HashMap<(u32, u32), u32>,
    key_bytes: usize,
}

impl Default for Shapes {
    fn default() -> Self {
        Self {
            nodes: vec![Node { parent: ROOT, column: NONE, first_edge: NONE }],
            edges: Vec::new(),
            keys: Vec::new(),
            by_name: HashMap::new(),
            children: HashMap::new(),
            key_bytes: 0,
        }
    }
}

impl Shapes {
    /// Number of nodes; node numbers are below it.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether it refused something, or is about to.
    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= MAX_NODES || self.keys.len() >= MAX_COLUMNS || self.key_bytes >= MAX_KEY_BYTES
    }

    /// The node and column behind one more (key, type); `None` if there is no room for it.
    #[inline]
    pub(super) fn step(&mut self, node: u32, of: Type, name: &[u8]) -> Option<(u32, u32)> {
        let mut at = self.nodes[node as usize].first_edge;
        for _ in 0..MAX_HOPS {
            if at == NONE {
                break;
            }
            let edge = self.edges[at as usize];
            let key = &self.keys[edge.column as usize];
            if key.of == of && equal(&key.name, name) {
                return Some((edge.child, edge.column));
            }
            at = edge.next;
        }
        self.step_slowly(node, of, name)
    }

    #[inline(never)]
    fn step_slowly(&mut self, node: u32, of: Type, name: &[u8]) -> Option<(u32, u32)> {
        let column = self.column(of, name)?;
        if let Some(&child) = self.children.get(&(node, column)) {
            return Some((child, column));
        }
        if self.nodes.len() >= MAX_NODES {
            return None;
        }
        let child = self.nodes.len() as u32;
        self.nodes.push(Node { parent: node, column, first_edge: NONE });
        let next = std::mem::replace(&mut self.nodes[node as usize].first_edge, self.edges.len() as u32);
        self.edges.push(Edge { column, child, next });
        self.children.insert((node, column), child);
        Some((child, column))
    }

    fn column(&mut self, of: Type, name: &[u8]) -> Option<u32> {
        let known = self.by_name.get(name).and_then(|columns| columns.get(of as usize)).copied();
        if let Some(column) = known.filter(|&column| column != NONE) {
            return Some(column);
        }
        if self.keys.len() >= MAX_COLUMNS || self.key_bytes + name.len() > MAX_KEY_BYTES {
            return None;
        }
        let column = self.keys.len() as u32;
        self.key_bytes += name.len();
        self.keys.push(Key { of, name: name.into() });
        self.by_name.entry(name.into()).or_insert([NONE; Type::ALL.len()])[of as usize] = column;
        Some(column)
    }

    /// The columns of a shape, in order, appended to `out`.
    pub(super) fn path(&self, node: u32, out: &mut Vec<u32>) {
        let start = out.len();
        let mut at = self.nodes[node as usize];
        while at.column != NONE {
            out.push(at.column);
            at = self.nodes[at.parent as usize];
        }
        out[start..].reverse();
    }
}
