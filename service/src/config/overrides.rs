//! Environment overrides: `TRIBUTARY_EDGE__SHIP__LINK_CAP=10Mbit/s` stands for `ship.link_cap`.
//!
//! The prefix, then one name or list index per level, each behind a double underscore. A name
//! matches the key it differs from only in case, or in `_` for `-` and `.`. A list's items are
//! named by index; the index behind the last one adds an item. What the value means depends on
//! what the key wants; nothing (`...=`) is no value for a key that may have none. A name that no
//! key has is an error, since a typo would else do nothing, silently.
//!
//! Bounds: [`MAX_OVERRIDES`] variables, [`MAX_VALUE_BYTES`] each, [`MAX_DEPTH`] levels.

use std::ffi::OsString;
use std::sync::Arc;

use super::error::Origin;
use super::tree::{Entry, Kind, Leaf, MAX_DEPTH, Node, Value};

/// Overrides of one process.
pub(super) const MAX_OVERRIDES: usize = 1024;
/// Bytes of one override's value.
pub(super) const MAX_VALUE_BYTES: usize = 64 << 10;

/// A variable that cannot be applied: its name, the path it names so far, and what is wrong.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) name: Arc<str>,
    pub(super) key_path: String,
    pub(super) message: String,
}

/// Lays the variables whose names start with `prefix` and `__` over `root`.
pub(super) fn apply(root: &mut Node, prefix: &str, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), Refused> {
    let mut overrides = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(path) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("__")) else {
            continue;
        };
        let refuse = |message: String| Refused { name: name.as_ref().into(), key_path: String::new(), message };
        let steps: Vec<String> = path.split("__").map(str::to_owned).collect();
        if steps.iter().any(String::is_empty) || steps.len() > MAX_DEPTH {
            let example = format!("expected a name such as {prefix}__SECTION__KEY");
            return Err(refuse(format!("names no key: {example}")));
        }
        if overrides.len() == MAX_OVERRIDES {
            return Err(refuse(format!("more than {MAX_OVERRIDES} overrides: use the file")));
        }
        let value = value.into_string().map_err(|_| refuse("the value is not UTF-8".to_owned()))?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(refuse(format!("the value has {} bytes: at most {MAX_VALUE_BYTES} are accepted", value.len())));
        }
        overrides.push((steps, Arc::<str>::from(name.as_ref()), value));
    }
    // Shorter names first, so that item 2 of a list is applied before item 10.
    overrides.sort_by(|(a, ..), (b, ..)| {
        let key = |steps: &[String]| -> Vec<(usize, String)> { steps.iter().map(|step| (step.len(), step.clone())).collect() };
        key(a).cmp(&key(b))
    });
    for (steps, name, value) in overrides {
        let mut walked = Vec::new();
        set(root, &steps, &mut walked, &name, value).map_err(|message| Refused { name, key_path: walked.join("."), message })?;
    }
    Ok(())
}

/// Descends along `steps` and replaces what is there; makes the maps that are missing.
fn set(mut node: &mut Node, steps: &[String], walked: &mut Vec<String>, name: &Arc<str>, value: String) -> Result<(), String> {
    let origin = Origin::Environment(Arc::clone(name));
    for step in steps {
        if let Value::Leaf(leaf) = &node.value {
            if leaf.kind != Kind::Null {
                return Err("is a single value, it has no keys".to_owned());
            }
            *node = Node::empty_map(origin.clone());
        }
        node = match &mut node.value {
            Value::List(items) => {
                walked.push(step.clone());
                item(items, step, &origin)?
            }
            Value::Map(entries) => entry(entries, step, walked, &origin),
            Value::Leaf(_) => return Err("is a single value, it has no keys".to_owned()),
        };
    }
    node.origin = origin;
    node.value = Value::Leaf(Leaf { text: value, kind: Kind::Environment });
    Ok(())
}

fn item<'a>(items: &'a mut Vec<Node>, step: &str, origin: &Origin) -> Result<&'a mut Node, String> {
    let len = items.len();
    let index: usize = step.parse().map_err(|_| format!("expected the index of a list's item, 0 to {len}"))?;
    if index == len {
        items.push(Node::empty_map(origin.clone()));
    }
    items.get_mut(index).ok_or_else(|| format!("the list has {len} items: expected an index from 0 to {len}"))
}

fn entry<'a>(entries: &'a mut Vec<Entry>, step: &str, walked: &mut Vec<String>, origin: &Origin) -> &'a mut Node {
    let index = entries.iter().position(|entry| matches(&entry.key, step)).unwrap_or_else(|| {
        entries.push(Entry { key: step.to_ascii_lowercase(), key_origin: origin.clone(), node: Node::empty_map(origin.clone()) });
        entries.len() - 1
    });
    walked.push(entries[index].key.clone());
    &mut entries[index].node
}

fn matches(key: &str, step: &str) -> bool {
    let letter = |byte: u8| match byte {
        b'-' | b'.' => b'_',
        other => other.to_ascii_lowercase(),
    };
    key.len() == step.len() && key.bytes().zip(step.bytes()).all(|(a, b)| letter(a) == letter(b))
}
