//! The one table that a run prints: what was measured, what was wanted, whether that is reached.

/// What a number should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing is wanted of it; it is there to compare with.
    Shown,
}

#[derive(Debug)]
struct Line {
    name: String,
    measured: f64,
    unit: &'static str,
    goal: Goal,
    note: String,
}

/// Lines in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    lines: Vec<Line>,
    // What has columns of its own.
    others: Vec<String>,
}

impl Results {
    /// Adds a line, and says on the error stream that it is there.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        measured: f64,
        unit: &'static str,
        goal: Goal,
        note: impl Into<String>,
    ) {
        let line = Line { name: name.into(), measured, unit, goal, note: note.into() };
        eprintln!("  {}: {} {}  {}", line.name, number(line.measured), line.unit, line.note);
        self.lines.push(line);
    }

    /// Adds a table with columns of its own.
    pub(crate) fn append(&mut self, table: String) {
        self.others.push(table);
    }

    /// The lines as JSON; tables with columns of their own are not among them.
    pub(crate) fn json(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(Line::json).collect();
        format!("[{}]", lines.join(","))
    }

    /// The tables, their columns aligned.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![["work", "measured", "goal", "verdict", "beside it"].map(str::to_owned)];
        rows.extend(self.lines.iter().map(Line::cells));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut table = String::new();
        for [work, measured, goal, verdict, note] in &rows {
            let [a, b, c, d] = widths;
            let line = format!("{work:a$}  {measured:>b$}  {goal:>c$}  {verdict:d$}  {note}");
            table += line.trim_end();
            table.push('\n');
        }
        for other in &self.others {
            table.push('\n');
            table += other;
        }
        table
    }
}

impl Line {
    // Names, units and verdicts hold no quotes; what was measured is never infinite.
    fn json(&self) -> String {
        let goal = match self.goal {
            Goal::AtLeast(goal) | Goal::AtMost(goal) => goal.to_string(),
            Goal::Shown => "null".to_owned(),
        };
        let Self { name, measured, unit, note, .. } = self;
        let (verdict, note) = (self.verdict(), note.replace(['"', '\\'], " "));
        format!(
            r#"{{"work":"{name}","measured":{measured},"unit":"{unit}","goal":{goal},"verdict":"{verdict}","note":"{note}"}}"#
        )
    }

    fn cells(&self) -> [String; 5] {
        let with_unit = |value| format!("{} {}", number(value), self.unit);
        let goal = match self.goal {
            Goal::AtLeast(goal) => format!(">= {}", with_unit(goal)),
            Goal::AtMost(goal) => format!("<= {}", with_unit(goal)),
            Goal::Shown => String::new(),
        };
        [self.name.clone(), with_unit(self.measured), goal, self.verdict().to_owned(), self.note.clone()]
    }

    fn verdict(&self) -> &'static str {
        let reached = |slack: f64| match self.goal {
            Goal::AtLeast(goal) => self.measured * slack >= goal,
            Goal::AtMost(goal) => self.measured <= goal * slack,
            Goal::Shown => true,
        };
        match self.goal {
            Goal::Shown => "",
            _ if reached(1.0) => "ok",
            _ if reached(2.0) => "within 2x",
            _ => "short",
        }
    }
}

/// Three digits that mean something, thousands set apart.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_the_digits_that_mean_something() {
        for (value, text) in
            [(0.123, "0.12"), (12.34, "12.3"), (999.0, "999"), (1234.5, "1,234"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_goal_that_is_missed_by_less_than_half_is_told_from_one_that_is_far() {
        let mut results = Results::default();
        results.add("a", 10.0, "/s", Goal::AtLeast(10.0), "");
        results.add("b", 6.0, "/s", Goal::AtLeast(10.0), "");
        results.add("c", 30.0, "us", Goal::AtMost(10.0), "");
        let verdicts: Vec<_> = results.lines.iter().map(Line::verdict).collect();
        assert_eq!(verdicts, ["ok", "within 2x", "short"]);
    }
}
