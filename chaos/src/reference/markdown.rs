//! Tables that read well as text too.

/// What stands at the top of a page, so that nobody edits it.
pub(super) fn made_by() -> String {
    format!("<!-- Made from the code by `{}`: edit the descriptions there. -->\n", super::COMMAND)
}

/// A table; the cells of a column are padded to one width.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0);
    // The last column holds sentences: it is as long as it is.
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 == N { 0 } else { width(column) });
    let line = |cells: [&str; N]| {
        let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("| {} |\n", cells.join(" | ").trim_end())
    };
    let rule = widths.map(|width| "-".repeat(width.max(3)));
    let mut out = line(head) + &line(rule.each_ref().map(String::as_str));
    out.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    out
}

/// A cell: no line breaks, and no bars but those of the table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
