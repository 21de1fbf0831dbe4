//! A list's filters, order and page as SQL.
//!
//! Values are bound, never written into the text.

use std::cmp::Ordering;
use std::str::FromStr as _;

use pep440_rs::Version;
use rusqlite::types::Value;

use super::filter::{Column, Filter, Kind, Operand, Operation, Sort};

/// Which builds are wanted, in which order, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The conditions.
    pub filters: Vec<Filter>,
    /// Whether one of them suffices.
    pub any: bool,
    /// The order.
    pub sort: Sort,
    /// Which page, from one.
    pub page: u64,
    /// How many builds are on a page; `None` for all on one.
    pub size: Option<u64>,
}

impl Default for Query {
    fn default() -> Self {
        let sort = Sort { column: Column::Created, descending: true };
        Self { filters: Vec::new(), any: false, sort, page: 1, size: None }
    }
}

/// A `WHERE` and what is bound to it.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Query {
    pub(super) fn statement(&self) -> Statement {
        let mut values = Vec::new();
        let conditions: Vec<String> = self.filters.iter().map(|filter| condition(filter, &mut values)).collect();
        let joined = conditions.join(if self.any { " OR " } else { " AND " });
        let text = if joined.is_empty() { String::new() } else { format!("WHERE {joined}") };
        Statement { text, values }
    }

    /// The order and the page. Of equals, the order in which they came decides.
    pub(super) fn order(&self) -> String {
        let direction = if self.sort.descending { "DESC" } else { "ASC" };
        let by = match self.sort.column {
            Column::Image => "(SELECT min(image) FROM images WHERE build = builds.number)".to_owned(),
            column if column.kind() == Kind::Version => format!("{} COLLATE version", expression(column)),
            column => expression(column),
        };
        let page = self.size.map_or_else(String::new, |size| {
            format!(" LIMIT {size} OFFSET {}", self.page.saturating_sub(1).saturating_mul(size).min(i64::MAX as u64))
        });
        format!("ORDER BY {by} {direction}, number {direction}{page}")
    }
}

fn expression(column: Column) -> String {
    format!("builds.{}", column.name())
}

fn condition(filter: &Filter, values: &mut Vec<Value>) -> String {
    use Operation::{Equals, IsNotNull, IsNull, NotContains, NotEquals, NotOneOf, OneOf};
    if filter.column != Column::Image {
        return comparison(&expression(filter.column), filter.column, filter.operation, &filter.operands, values);
    }
    // Of several images: one that is so, or none that is otherwise.
    let (operation, none) = match filter.operation {
        NotEquals => (Equals, true),
        NotContains => (Operation::Contains, true),
        NotOneOf => (OneOf, true),
        IsNull => (IsNotNull, true),
        other => (other, false),
    };
    let inner = comparison("images.image", filter.column, operation, &filter.operands, values);
    let exists = format!("EXISTS (SELECT 1 FROM images WHERE images.build = builds.number AND {inner})");
    if none { format!("NOT {exists}") } else { exists }
}

fn comparison(
    expression: &str,
    column: Column,
    operation: Operation,
    operands: &[Operand],
    values: &mut Vec<Value>,
) -> String {
    // A moment is the same as a day or a second when it begins so.
    let is_time = column.kind() == Kind::Time;
    let (by, pattern) = match operation {
        Operation::Equals if is_time => ("LIKE", Some(("", "%"))),
        Operation::NotEquals if is_time => ("NOT LIKE", Some(("", "%"))),
        Operation::Equals => ("=", None),
        Operation::NotEquals => ("<>", None),
        Operation::Contains => ("LIKE", Some(("%", "%"))),
        Operation::NotContains => ("NOT LIKE", Some(("%", "%"))),
        Operation::StartsWith => ("LIKE", Some(("", "%"))),
        Operation::EndsWith => ("LIKE", Some(("%", ""))),
        Operation::Greater => (">", None),
        Operation::GreaterOrEqual => (">=", None),
        Operation::Less => ("<", None),
        Operation::LessOrEqual => ("<=", None),
        Operation::OneOf => ("IN", None),
        Operation::NotOneOf => ("NOT IN", None),
        Operation::In => ("BETWEEN", None),
        Operation::IsNull => return format!("{expression} IS NULL"),
        Operation::IsNotNull => return format!("{expression} IS NOT NULL"),
    };
    values.extend(operands.iter().map(|operand| match (operand, pattern) {
        (Operand::Text(text), Some((before, after))) => Value::from(format!("{before}{}{after}", escaped(text))),
        (Operand::Text(text), None) => Value::from(text.clone()),
        (Operand::Number(number), _) => Value::from(*number),
        (Operand::Flag(flag), _) => Value::from(i64::from(*flag)),
    }));
    // A collation behind the first expression holds for the whole comparison.
    let is_order = matches!(by, ">" | ">=" | "<" | "<=" | "BETWEEN");
    let collation = if column.kind() == Kind::Version && is_order { " COLLATE version" } else { "" };
    let right = match by {
        "IN" | "NOT IN" => format!("({})", vec!["?"; operands.len()].join(", ")),
        "BETWEEN" => "? AND ?".to_owned(),
        "LIKE" | "NOT LIKE" => "? ESCAPE '\\'".to_owned(),
        _ => "?".to_owned(),
    };
    format!("{expression}{collation} {by} {right}")
}

/// `text` for `LIKE`, where `%` and `_` stand for others.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The order of versions (PEP 440); what is none comes before all of them, in the order of texts.
pub(super) fn compare_versions(one: &str, other: &str) -> Ordering {
    let parsed = |text: &str| Version::from_str(text).ok();
    match (parsed(one), parsed(other)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => one.cmp(other),
    }
}
