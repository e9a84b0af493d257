//! `system engines`: which engines can be reached from here.

use serde::Serialize;
use silt::place::{About, DirectReading, EngineKind, EnginePlace};

use crate::context::Context;
use crate::error::{CommandResult, with_causes};
use crate::output::{self, Table, one_line};
use crate::places::engine_address;

pub(crate) struct EnginesOptions {
    pub(crate) is_json: bool,
}

/// An engine that was looked for.
#[derive(Serialize)]
struct Looked {
    kind: EngineKind,
    is_reachable: bool,
    /// What it says of itself.
    about: Option<About>,
    /// Why it cannot be reached.
    problem: Option<String>,
}

/// That none is there is an answer, and no failure.
pub(super) fn run(context: &Context, options: &EnginesOptions) -> CommandResult {
    let kinds = [EngineKind::Docker, EngineKind::Podman, EngineKind::Containerd];
    let engines: Vec<Looked> = kinds.into_iter().map(|kind| look(context, kind)).collect();
    match options.is_json {
        true => output::print_json(&engines),
        false => output::print(&text(&engines)),
    }
}

fn look(context: &Context, kind: EngineKind) -> Looked {
    match EnginePlace::open(kind, &engine_address(context)) {
        Ok(place) => {
            let about = Some(place.about().clone());
            Looked { kind, is_reachable: true, about, problem: None }
        }
        Err(error) => {
            let problem = Some(with_causes(&error));
            Looked { kind, is_reachable: false, about: None, problem }
        }
    }
}

fn text(engines: &[Looked]) -> String {
    let mut table = Table::new(&["ENGINE", "VERSION", "STORAGE", "READ", "ADDRESS"]);
    let mut notes = String::new();
    for engine in engines {
        let kind = engine.kind.to_string();
        match (&engine.about, &engine.problem) {
            (Some(about), _) => {
                let read = match &about.direct_reading {
                    DirectReading::Works => "in place",
                    DirectReading::CopiedBecause(why) => {
                        notes += &format!("{kind}: layers are copied first: {}\n", one_line(why));
                        "copied"
                    }
                };
                let product = format!("{} {}", about.product, about.version);
                let storage = about.storage_driver.clone();
                table.row([kind, product, storage, read.to_owned(), about.address.clone()]);
            }
            (None, problem) => {
                let none = || "-".to_owned();
                table.row([kind, none(), none(), none(), none()]);
                notes += &format!("{}\n", one_line(problem.as_deref().unwrap_or("")));
            }
        }
    }
    table.to_text() + &notes
}
