//! The table.

/// What was measured of one configuration, beside glibc and beside its own allocator.
pub struct Sample {
    pub median: f64,
    lower: f64,
    upper: f64,
    over: f64,
    ratio: f64,
    over_base: f64,
    /// What two threads did in the time in which one does one's work.
    scaling: Option<f64>,
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1)) as f64 * part;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    let share = at - at.floor();
    sorted.get(below).copied().unwrap_or(f64::NAN) * (1.0 - share)
        + sorted.get(above).copied().unwrap_or(f64::NAN) * share
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

impl Sample {
    /// From one value a round of this configuration, of glibc, of the same allocator bare, and of this
    /// configuration on one thread.
    pub fn new(
        own: &[Option<f64>],
        glibc: &[Option<f64>],
        base: &[Option<f64>],
        alone: &[Option<f64>],
    ) -> Sample {
        let mut sorted: Vec<f64> = own.iter().flatten().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let against = |other: &[Option<f64>], how: fn(f64, f64) -> f64| {
            median(own.iter().zip(other).filter_map(|(a, b)| Some(how((*a)?, (*b)?))).collect())
        };
        Sample {
            median: quantile(&sorted, 0.5),
            lower: quantile(&sorted, 0.25),
            upper: quantile(&sorted, 0.75),
            over: against(glibc, |a, b| a - b),
            ratio: against(glibc, |a, b| a / b),
            over_base: against(base, |a, b| a - b),
            scaling: (!alone.is_empty()).then(|| against(alone, |a, b| 2.0 * b / a)),
        }
    }
}

/// One row.
pub struct Row {
    pub workload: String,
    pub configuration: String,
    base: String,
    sample: Result<Sample, String>,
    pub instructions: Option<f64>,
    unit: &'static str,
}

impl Row {
    pub fn new(workload: &str, configuration: &str, base: &str, sample: Result<Sample, String>) -> Row {
        Row {
            workload: workload.to_owned(),
            configuration: configuration.to_owned(),
            base: base.to_owned(),
            sample,
            instructions: None,
            unit: "ns",
        }
    }

    /// The same row with other units.
    pub fn unit(self, unit: &'static str) -> Row {
        Row { unit, ..self }
    }
}

/// A number with three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Prints all rows. `over` and `ratio` are against glibc in the same round.
pub fn print(rows: &[Row]) {
    const HEAD: [&str; 8] =
        ["workload", "configuration", "median", "quartiles", "over", "ratio", "instr.", ""];
    let mut cells: Vec<[String; 8]> = vec![HEAD.map(str::to_owned)];
    let mut last = "";
    for row in rows {
        let workload = if row.workload == last { String::new() } else { row.workload.clone() };
        last = &row.workload;
        let instructions = row.instructions.map_or(String::new(), |count| format!("{count:.1}"));
        let mut line = [
            workload,
            row.configuration.clone(),
            "".into(),
            "".into(),
            "".into(),
            "".into(),
            instructions,
            String::new(),
        ];
        match &row.sample {
            Ok(s) => {
                line[2] = format!("{} {}", number(s.median), row.unit);
                line[3] = format!("{} - {}", number(s.lower), number(s.upper));
                line[4] = format!("{:+.1}", s.over);
                line[5] = format!("{:.2}", s.ratio);
                if let Some(scaling) = s.scaling {
                    line[7] = format!("{scaling:.2} x one thread  ");
                }
                if row.base != crate::configurations::GLIBC {
                    line[7] += &format!("{:+.1} over {}", s.over_base, row.base);
                }
            }
            Err(reason) => line[7] = format!("does not count: {reason}"),
        }
        if !line[0].is_empty() && cells.len() > 1 {
            cells.push(std::array::from_fn(|_| String::new()));
        }
        cells.push(line);
    }
    let width = |column: usize| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    for line in &cells {
        let mut text = String::new();
        for (i, (cell, width)) in line.iter().zip(widths).enumerate() {
            let padded =
                if (2..7).contains(&i) { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            text += &padded;
        }
        println!("{}", text.trim_end());
    }
    println!();
}
