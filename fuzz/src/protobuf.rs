//! Mutations that keep lengths right: a byte changed at random in nested messages mostly makes them unreadable at the top.
//!
//! The bytes are read as a tree without a schema (what could be a message is taken for one), one node is changed, and it is written again.

use super::mutate::Bytes;
use super::support::rng::Rng;

const MAX_DEPTH: u32 = 40;

#[derive(Clone)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

#[derive(Clone)]
struct Field {
    number: u32,
    value: Value,
}

/// `message` with one field changed; `None` if it is no protobuf or has no field.
pub fn mutate(message: &[u8], rng: &mut Rng, bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let mut fields = parse(message, MAX_DEPTH)?;
    let lists = count_lists(&fields);
    let donor = node(&fields, rng.below(count_nodes(&fields).max(1)))?.clone();
    let list = list_mut(&mut fields, &mut rng.below(lists))?;
    change(list, donor, rng, bytes);
    let mut out = Vec::new();
    write(&fields, &mut out);
    Some(out)
}

fn change(list: &mut Vec<Field>, donor: Field, rng: &mut Rng, bytes: &mut Bytes<'_>) {
    if list.is_empty() || rng.one_in(5) {
        list.insert(rng.below(list.len() + 1), donor);
        return;
    }
    let at = rng.below(list.len());
    match rng.below(12) {
        0 => drop(list.remove(at)),
        1 => list.insert(at, list[at].clone()),
        2 => {
            let other = rng.below(list.len());
            list.swap(at, other);
        }
        3 => list[at].number = 1 + rng.below(18) as u32,
        4 => {
            let inner = list[at].clone();
            list[at].value = Value::Message(vec![Field { number: 1 + rng.below(6) as u32, ..inner }]);
        }
        5 => list[at].value = scalar(rng),
        6 => (0..rng.below(40)).for_each(|_| list.insert(at, list[at].clone())),
        _ => change_value(&mut list[at].value, rng, bytes),
    }
}

fn scalar(rng: &mut Rng) -> Value {
    match rng.below(4) {
        0 => Value::Varint(interesting(rng)),
        1 => Value::Fixed64(interesting(rng).to_le_bytes()),
        2 => Value::Fixed32((interesting(rng) as u32).to_le_bytes()),
        _ => Value::Bytes(vec![b'a'; rng.skewed(300)]),
    }
}

fn interesting(rng: &mut Rng) -> u64 {
    let doubles = [-0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1.5].map(f64::to_bits);
    match rng.below(5) {
        0 => rng.next(),
        1 => 1 << rng.below(64),
        2 => *rng.pick(&doubles),
        3 => u64::MAX - rng.below(3) as u64,
        _ => rng.below(20) as u64,
    }
}

fn change_value(value: &mut Value, rng: &mut Rng, bytes: &mut Bytes<'_>) {
    match value {
        Value::Varint(number) if rng.one_in(2) => *number = number.wrapping_add(rng.below(5) as u64).wrapping_sub(2),
        Value::Varint(number) => *number = interesting(rng),
        Value::Fixed64(bits) if rng.one_in(2) => bits[rng.below(8)] ^= 1 << rng.below(8),
        Value::Fixed64(bits) => *bits = interesting(rng).to_le_bytes(),
        Value::Fixed32(bits) => bits[rng.below(4)] ^= 1 << rng.below(8),
        Value::Bytes(content) => *content = bytes.mutate(content),
        Value::Message(fields) => {
            let mut content = Vec::new();
            write(fields, &mut content);
            *value = Value::Bytes(bytes.mutate(&content));
        }
    }
}

fn parse(mut bytes: &[u8], depth: u32) -> Option<Vec<Field>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number > 0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(*bytes.split_off(..8)?.first_chunk()?),
            5 => Value::Fixed32(*bytes.split_off(..4)?.first_chunk()?),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let content = bytes.split_off(..len)?;
                let inner = if depth > 0 && !content.is_empty() { parse(content, depth - 1) } else { None };
                inner.map_or_else(|| Value::Bytes(content.to_vec()), Value::Message)
            }
            _ => return None,
        };
        out.push(Field { number, value });
    }
    Some(out)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    use prost::encoding::encode_varint;
    for Field { number, value } in fields {
        let key = |wire: u64| u64::from(*number) << 3 | wire;
        match value {
            Value::Varint(number) => {
                encode_varint(key(0), out);
                encode_varint(*number, out);
            }
            Value::Fixed64(bits) => {
                encode_varint(key(1), out);
                out.extend_from_slice(bits);
            }
            Value::Fixed32(bits) => {
                encode_varint(key(5), out);
                out.extend_from_slice(bits);
            }
            Value::Bytes(content) => {
                encode_varint(key(2), out);
                encode_varint(content.len() as u64, out);
                out.extend_from_slice(content);
            }
            Value::Message(inner) => {
                let mut content = Vec::new();
                write(inner, &mut content);
                encode_varint(key(2), out);
                encode_varint(content.len() as u64, out);
                out.extend_from_slice(&content);
            }
        }
    }
}

fn inner(field: &Field) -> &[Field] {
    if let Value::Message(fields) = &field.value { fields } else { &[] }
}

fn count_nodes(fields: &[Field]) -> usize {
    fields.iter().map(|field| 1 + count_nodes(inner(field))).sum()
}

fn count_lists(fields: &[Field]) -> usize {
    1 + fields.iter().filter(|field| matches!(field.value, Value::Message(_))).map(|field| count_lists(inner(field))).sum::<usize>()
}

/// The `at`-th node, depth first.
fn node(fields: &[Field], mut at: usize) -> Option<&Field> {
    for field in fields {
        if at == 0 {
            return Some(field);
        }
        let below = count_nodes(inner(field));
        if at <= below {
            return node(inner(field), at - 1);
        }
        at -= 1 + below;
    }
    None
}

/// The `at`-th list of fields, the outermost first.
fn list_mut<'a>(fields: &'a mut Vec<Field>, at: &mut usize) -> Option<&'a mut Vec<Field>> {
    if *at == 0 {
        return Some(fields);
    }
    *at -= 1;
    for field in fields {
        if let Value::Message(inner) = &mut field.value {
            let lists = count_lists(inner);
            if *at < lists {
                return list_mut(inner, at);
            }
            *at -= lists;
        }
    }
    None
}
