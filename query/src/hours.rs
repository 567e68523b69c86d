//! Which hours a filter needs: bounds of the record's time become bounds of day and hour, so that other files are not opened.
//!
//! A file's day and hour are those of its rows' times, except in the hour 1970-01-01 00: rows without a time and rows of very
//! scattered times are there, so that hour is always needed. Times beyond `i64` stand as its greatest value in files of a later hour.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator, col, lit};

/// Partition columns of every table.
pub(crate) const DAY: &str = "day";
/// See [`DAY`].
pub(crate) const HOUR: &str = "hour";

const NANOS_PER_HOUR: i64 = 3_600_000_000_000;

/// Inclusive bounds, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    from: i64,
    to: i64,
}

const ALL: Bounds = Bounds { from: i64::MIN, to: i64::MAX };

/// What `filters` (all of them have to hold) say about day and hour through the column `time`; `None` if nothing.
pub(crate) fn needed(filters: &[Expr], time: &str) -> Option<Expr> {
    let mut bounds = ALL;
    for filter in filters {
        bounds.narrow(filter, time);
    }
    let from = (bounds.from > NANOS_PER_HOUR).then(|| at(bounds.from, Operator::Gt, Operator::GtEq));
    let to = (bounds.to < i64::MAX).then(|| at(bounds.to.max(0), Operator::Lt, Operator::LtEq));
    let within = match (from, to) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(from), Some(to)) => from.and(to),
    };
    Some(within.or(col(DAY).eq(date(0)).and(col(HOUR).eq(lit(0_i32)))))
}

/// `day = '…'` stays as it is; `hour = 5` becomes `hour IN (5)`: an equality would be taken for the name of a directory, `hour=5`, and
/// ours is `hour=05`.
pub(crate) fn without_prefix(filter: Expr) -> Expr {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => without_prefix(*left).and(without_prefix(*right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_hour(&left) || is_hour(&right) => {
            let (hour, value) = if is_hour(&left) { (*left, *right) } else { (*right, *left) };
            hour.in_list(vec![value], false)
        }
        other => other,
    }
}

fn is_hour(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == HOUR)
}

fn date(days: i32) -> Expr {
    lit(ScalarValue::Date32(Some(days)))
}

/// `day <beyond> D OR (day = D AND hour <within> H)` for the hour of `nanos`, which is not negative.
fn at(nanos: i64, beyond: Operator, within: Operator) -> Expr {
    let hours = nanos / NANOS_PER_HOUR;
    // At most 2,562,047 hours: i64 holds no later time.
    let (day, hour) = ((hours / 24) as i32, (hours % 24) as i32);
    let compare = |left, op, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
    compare(col(DAY), beyond, date(day)).or(col(DAY).eq(date(day)).and(compare(col(HOUR), within, lit(hour))))
}

impl Bounds {
    fn narrow(&mut self, filter: &Expr, time: &str) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.narrow(left, time);
                self.narrow(right, time);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let (true, Some(nanos)) = (is_time(left, time), nanos(right)) {
                    self.compare(*op, nanos);
                } else if let (Some(nanos), true, Some(op)) = (nanos(left), is_time(right, time), op.swap()) {
                    self.compare(op, nanos);
                }
            }
            Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr, time) => {
                if let (Some(low), Some(high)) = (nanos(low), nanos(high)) {
                    self.compare(Operator::GtEq, low);
                    self.compare(Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, op: Operator, nanos: i64) {
        match op {
            Operator::Eq => *self = Self { from: self.from.max(nanos), to: self.to.min(nanos) },
            Operator::Gt => self.from = self.from.max(nanos.saturating_add(1)),
            Operator::GtEq => self.from = self.from.max(nanos),
            Operator::Lt => self.to = self.to.min(nanos.saturating_sub(1)),
            Operator::LtEq => self.to = self.to.min(nanos),
            _ => {}
        }
    }
}

/// The column itself, or its value under another name of its zone.
fn is_time(expr: &Expr, time: &str) -> bool {
    match expr {
        Expr::Column(column) => column.name == time,
        Expr::Cast(Cast { expr, field }) => {
            matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) && is_time(expr, time)
        }
        _ => false,
    }
}

fn nanos(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(nanos, _), _) => *nanos,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::ident;

    use super::*;

    fn time(nanos: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into())))
    }

    fn bounds(filters: &[Expr]) -> Bounds {
        let mut bounds = ALL;
        filters.iter().for_each(|filter| bounds.narrow(filter, "Timestamp"));
        bounds
    }

    /// Every way to bound the time is seen, from either side; what does not bound it changes nothing.
    #[test]
    fn bounds_are_seen() {
        let t = || ident("Timestamp");
        assert_eq!(bounds(&[t().gt(time(5)).and(t().lt_eq(time(9)))]), Bounds { from: 6, to: 9 });
        assert_eq!(bounds(&[time(5).lt(t()), time(9).gt_eq(t())]), Bounds { from: 6, to: 9 });
        assert_eq!(bounds(&[t().between(time(5), time(9)), t().gt_eq(time(7)), t().lt(time(9))]), Bounds { from: 7, to: 8 });
        assert_eq!(bounds(&[t().eq(time(7))]), Bounds { from: 7, to: 7 });
        for other in
            [t().not_eq(time(7)), t().not_between(time(5), time(9)), t().gt(time(5)).or(t().lt(time(2))), ident("Other").gt(time(5))]
        {
            assert_eq!(bounds(std::slice::from_ref(&other)), ALL, "{other}");
        }
    }

    /// Rows without a time, and rows later than `i64` holds, are never pruned by a bound that they satisfy.
    #[test]
    fn the_ends_are_kept() {
        assert_eq!(needed(&[ident("Timestamp").lt_eq(time(i64::MAX))], "Timestamp"), None);
        assert_eq!(needed(&[ident("Timestamp").gt(time(-1))], "Timestamp"), None);
        let last = needed(&[ident("Timestamp").eq(time(i64::MAX))], "Timestamp").unwrap().to_string();
        assert!(last.contains("day > Date32(\"2262-04-11\")") && !last.contains("day <"), "{last}");
        let early = needed(&[ident("Timestamp").lt(time(-1))], "Timestamp").unwrap().to_string();
        assert!(early.contains("day = Date32(\"1970-01-01\") AND hour = Int32(0)"), "{early}");
    }
}
