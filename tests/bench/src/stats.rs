//! Medians, percentiles, and what the kernel says of a process.

use std::time::Duration;

/// The middle one of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Each of some figures as a part of its baseline: the median, and in brackets the smallest and the largest.
pub(crate) fn ratio(figures: &[f64], baselines: &[f64]) -> String {
    let ratios: Vec<f64> =
        figures.iter().zip(baselines).map(|(figure, baseline)| figure / baseline).collect();
    let (low, high) = spread(&ratios);
    format!("{:.2} (spread {low:.2} to {high:.2})", median(ratios))
}

/// The smallest and the largest.
fn spread(figures: &[f64]) -> (f64, f64) {
    figures.iter().fold((f64::MAX, f64::MIN), |(low, high), figure| (low.min(*figure), high.max(*figure)))
}

/// The value below which `part` of the times lie.
pub(crate) fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// Processor time of a process so far, user and system.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms.
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
