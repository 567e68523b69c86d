//! `docs/config.md` and `docs/schema/*.json`: the raw configurations' JSON schemas, for readers and for editors.

use std::collections::BTreeMap;

use schemars::{Schema, schema_for};
use serde_json::Value;

use super::markdown::{made_by, table};

/// A file that an operator writes.
pub(super) struct Document {
    title: &'static str,
    about: &'static str,
    /// Prefix of the environment variables that override it.
    env_prefix: Option<&'static str>,
    /// Its schema, below the repository.
    pub(super) path: &'static str,
    schema: fn() -> Schema,
}

pub(super) const DOCUMENTS: [Document; 4] = [
    Document {
        title: "tributary-edge",
        about: "The edge: `tributary-edge run --config edge.yaml`.",
        env_prefix: Some(edge_gateway::config::ENV_PREFIX),
        path: "docs/schema/edge.json",
        schema: || schema_for!(edge_gateway::config::Raw),
    },
    Document {
        title: "tributary-router",
        about: "The router: `tributary-router run --config router.yaml`.",
        env_prefix: Some(central_router::config::ENV_PREFIX),
        path: "docs/schema/router.json",
        schema: || schema_for!(central_router::config::Raw),
    },
    Document {
        title: "tributary-agent",
        about: "The agent: `tributary-agent run --config agent.yaml`.",
        env_prefix: Some(agent::config::ENV_PREFIX),
        path: "docs/schema/agent.json",
        schema: || schema_for!(agent::config::Raw),
    },
    Document {
        title: "The router's allow-list",
        about: "The file that the router's `edges` names; `tributary-router pki issue` writes it, and the router reads it again when it changes.",
        env_prefix: None,
        path: "docs/schema/edges.json",
        schema: || schema_for!(central_router::edges::Edges),
    },
];

impl Document {
    fn value(&self) -> Value {
        let mut schema = (self.schema)();
        schema.insert("title".to_owned(), self.title.into());
        schema.to_value()
    }

    /// The schema as a file.
    pub(super) fn json(&self) -> String {
        format!("{:#}\n", self.value())
    }

    /// All keys.
    pub(super) fn keys(&self) -> Vec<Key> {
        let root = self.value();
        let mut walk = Walk { root: &root, keys: Vec::new(), forms: BTreeMap::new() };
        walk.fields(&root, "", REQUIRED);
        walk.keys
    }

    fn forms(&self) -> BTreeMap<String, String> {
        let root = self.value();
        let mut walk = Walk { root: &root, keys: Vec::new(), forms: BTreeMap::new() };
        walk.fields(&root, "", REQUIRED);
        walk.forms
    }
}

/// What stands for the default of a key that must be given.
const REQUIRED: &str = "*required*";
/// The same for keys of which one must be given, and no other.
const EXACTLY_ONE: &str = "*exactly one*";

/// One key of a file.
pub(super) struct Key {
    /// With all above it: `tiers.<name>.local.path`, `identity.tokens[].tenant`.
    pub(super) path: String,
    kind: String,
    default: String,
    pub(super) meaning: String,
}

/// The page.
pub(super) fn page() -> String {
    let mut page = String::from("# Settings\n\n") + &made_by();
    page += "\nFiles are YAML. A key that nothing reads is an error, with its line. A section may be left out when nothing in it is *required*.\n\
             `docs/schema/` has the same as JSON schemas: with `# yaml-language-server: $schema=PATH/docs/schema/edge.json` as its first\n\
             line, a file is checked and completed by editors that know the YAML language server.\n";
    let forms: BTreeMap<String, String> = DOCUMENTS.iter().flat_map(Document::forms).collect();
    let forms: Vec<[String; 2]> = forms.into_iter().map(|(name, form)| [name, form]).collect();
    page += &format!("\n## Forms of values\n\n{}", table(["Type", "Written as"], &forms));
    for document in DOCUMENTS {
        page += &format!("\n## {}\n\n{}", document.title, document.about);
        if let Some(prefix) = document.env_prefix {
            page += &format!(" The environment overrides each key: `{prefix}__A__B=value` sets `a.b`.");
        }
        let rows: Vec<[String; 4]> =
            document.keys().into_iter().map(|key| [format!("`{}`", key.path), key.kind, key.default, key.meaning]).collect();
        page += &format!("\n\n{}", table(["Key", "Type", "Default", "Meaning"], &rows));
    }
    page
}

/// A walk over a schema.
struct Walk<'a> {
    root: &'a Value,
    keys: Vec<Key>,
    /// How the types that have a form of their own are written.
    forms: BTreeMap<String, String>,
}

impl<'a> Walk<'a> {
    /// The fields of an object, or of each form that it may take. `needed` is said of those that must be given.
    fn fields(&mut self, object: &'a Value, path: &str, needed: &str) {
        let Some(fields) = object["properties"].as_object() else {
            let needed = if alternatives(object).count() > 1 { EXACTLY_ONE } else { REQUIRED };
            for form in alternatives(object) {
                self.fields(self.resolve(form), path, needed);
            }
            return;
        };
        let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            // A form that an object may take is described beside its only key.
            let about = object["description"].as_str().filter(|_| fields.len() == 1 && field.get("$ref").is_some());
            self.field(field, path, required.contains(&name.as_str()).then_some(needed), about);
        }
    }

    fn field(&mut self, field: &'a Value, path: String, needed: Option<&str>, about: Option<&str>) {
        let inner = self.resolve(field);
        let kind = self.kind(inner);
        let default = match (needed, &field["default"]) {
            (Some(needed), _) => needed.to_owned(),
            (None, Value::Null) if kind == "section" => String::new(),
            (None, Value::Null) => "none".to_owned(),
            (None, Value::String(text)) => format!("`{text}`"),
            (None, value) => format!("`{value}`"),
        };
        let own = field["description"].as_str().or(about).or_else(|| inner["description"].as_str()).unwrap_or_default();
        self.keys.push(Key { path: path.clone(), kind, default, meaning: format!("{own}{}", variants(inner)) });
        self.inside(inner, &path);
    }

    /// What lies below a key.
    fn inside(&mut self, inner: &'a Value, path: &str) {
        if let Some(items) = inner.get("items") {
            self.fields(self.mapping(items), &format!("{path}[]"), REQUIRED);
        } else if let Some(values) = map_values(inner) {
            self.fields(self.resolve(values), &format!("{path}.<name>"), REQUIRED);
        } else {
            self.fields(inner, path, REQUIRED);
        }
    }

    fn kind(&mut self, schema: &'a Value) -> String {
        if let Some(title) = schema["title"].as_str().filter(|_| schema.get("form").is_some()) {
            self.forms.insert(title.to_owned(), schema["form"].as_str().unwrap_or_default().to_owned());
            return title.to_owned();
        }
        if let Some(items) = schema.get("items") {
            let item = self.kind(self.mapping(items));
            return if item == "section" { "list".to_owned() } else { format!("list of {item}s") };
        }
        if let Some(values) = map_values(schema) {
            let value = self.kind(self.resolve(values));
            return if value == "section" { "map by name".to_owned() } else { format!("map of {value}s by name") };
        }
        if !constants(schema).is_empty() {
            return "word".to_owned();
        }
        match type_of(schema) {
            Some("integer") => "whole number".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("string") => "text".to_owned(),
            Some("number") => "number".to_owned(),
            _ => "section".to_owned(),
        }
    }

    /// Of a value that is a mapping or something shorter, the mapping.
    fn mapping(&self, schema: &'a Value) -> &'a Value {
        let forms = schema["anyOf"].as_array().into_iter().flatten().map(|form| self.resolve(form));
        forms.into_iter().find(|form| form.get("properties").is_some()).unwrap_or_else(|| self.resolve(schema))
    }

    /// The schema behind references and `null`.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        if let Some(target) = schema["$ref"].as_str() {
            return self.root.pointer(target.trim_start_matches('#')).map_or(schema, |target| self.resolve(target));
        }
        let other = schema["anyOf"].as_array().and_then(|forms| forms.iter().find(|form| form["type"] != "null"));
        other.map_or(schema, |form| self.resolve(form))
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["oneOf"].as_array().into_iter().flatten()
}

/// The words that an enum of words has, each with its meaning.
fn constants(schema: &Value) -> Vec<(&str, &str)> {
    let documented =
        alternatives(schema).filter_map(|form| Some((form["const"].as_str()?, form["description"].as_str().unwrap_or_default())));
    let plain = schema["enum"].as_array().into_iter().flatten().filter_map(|word| Some((word.as_str()?, "")));
    documented.chain(plain).collect()
}

/// ` One of `a` (meaning), `b` (meaning).`
fn variants(schema: &Value) -> String {
    let words: Vec<String> = constants(schema)
        .into_iter()
        .map(|(word, meaning)| match meaning.trim_end_matches('.') {
            "" => format!("`{word}`"),
            meaning => format!("`{word}` ({meaning})"),
        })
        .collect();
    if words.is_empty() { String::new() } else { format!(" One of {}.", words.join(", ")) }
}

/// The values of a map whose keys are free.
fn map_values(schema: &Value) -> Option<&Value> {
    let by_pattern = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    by_pattern.or_else(|| schema.get("additionalProperties").filter(|values| values.is_object()))
}

fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}
