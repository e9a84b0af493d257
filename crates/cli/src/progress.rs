//! What users see while it runs, on standard error. Where that is closed, nobody is told.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle as BarStyle};
use serde::Serialize;
use silt::{NoProgress, Progress, Step};

use crate::context::ProgressStyle;
use crate::output::{exact_size, one_line};

/// The least time between two reports of one step.
const JSON_INTERVAL: Duration = Duration::from_millis(500);
const BAR: &str = "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {eta}";
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// The reporter for a style.
pub(crate) fn reporter(style: ProgressStyle) -> Box<dyn Progress> {
    match style {
        ProgressStyle::None => Box::new(NoProgress),
        ProgressStyle::Json => Box::new(Json::default()),
        ProgressStyle::Auto if io::stderr().is_terminal() => Box::new(Bars::default()),
        ProgressStyle::Auto | ProgressStyle::Plain => Box::new(Lines),
    }
}

/// One line for each step.
struct Lines;

impl Progress for Lines {
    fn begin(&self, step: &Step<'_>, total_bytes: Option<u64>) {
        let size = total_bytes.map(|bytes| format!(" ({})", exact_size(bytes)));
        say(&format!("{step}{}", size.unwrap_or_default()));
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {}
}

/// A bar for the running step, on a terminal.
#[derive(Default)]
struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress for Bars {
    fn begin(&self, step: &Step<'_>, total_bytes: Option<u64>) {
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(total_bytes, target)
            .with_finish(ProgressFinish::AndClear);
        let template = if total_bytes.is_some() { BAR } else { SPINNER };
        if let Ok(style) = BarStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(one_line(&step.to_string()));
        *held(&self.bar) = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*held(&self.bar) {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = held(&self.bar).take() {
            bar.finish_and_clear();
        }
    }
}

/// One JSON object in each line: `docs/cli.md` has the fields.
#[derive(Default)]
struct Json {
    running: Mutex<Option<Running>>,
}

struct Running {
    done_bytes: u64,
    last_report: Instant,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Begin {
        step: &'static str,
        text: String,
        total_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        layer: Option<LayerOfEvent>,
    },
    Progress {
        done_bytes: u64,
    },
    End {
        done_bytes: u64,
    },
}

#[derive(Serialize)]
struct LayerOfEvent {
    number: usize,
    count: usize,
    diff_id: String,
    action: String,
}

impl Progress for Json {
    fn begin(&self, step: &Step<'_>, total_bytes: Option<u64>) {
        *held(&self.running) = Some(Running { done_bytes: 0, last_report: Instant::now() });
        let (name, layer) = name_of(step);
        say_json(&Event::Begin { step: name, text: step.to_string(), total_bytes, layer });
    }

    fn advance(&self, bytes: u64) {
        let mut running = held(&self.running);
        let Some(running) = running.as_mut() else { return };
        running.done_bytes = running.done_bytes.saturating_add(bytes);
        if running.last_report.elapsed() >= JSON_INTERVAL {
            running.last_report = Instant::now();
            say_json(&Event::Progress { done_bytes: running.done_bytes });
        }
    }

    fn end(&self) {
        if let Some(running) = held(&self.running).take() {
            say_json(&Event::End { done_bytes: running.done_bytes });
        }
    }
}

/// A step for programs. The text is for people, and may change.
fn name_of(step: &Step<'_>) -> (&'static str, Option<LayerOfEvent>) {
    let name = match step {
        Step::Spooling => "spooling",
        Step::CheckingSigned => "checking-signed",
        Step::CheckingInput => "checking-input",
        Step::Layer { .. } => "layer",
        Step::Fingerprinting => "fingerprinting",
        Step::Sharing => "sharing",
        Step::Publishing => "publishing",
        Step::Saving => "saving",
        Step::Verifying => "verifying",
        Step::Unpacking => "unpacking",
    };
    let layer = match step {
        Step::Layer { number, count, diff_id, action } => Some(LayerOfEvent {
            number: *number,
            count: *count,
            diff_id: diff_id.to_string(),
            action: (*action).to_owned(),
        }),
        _ => None,
    };
    (name, layer)
}

fn say_json(event: &Event) {
    if let Ok(text) = serde_json::to_string(event) {
        say(&text);
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", one_line(line));
}

/// What a panicking thread left is a number of bytes, good enough to show.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
