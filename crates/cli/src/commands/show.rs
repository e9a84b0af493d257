//! `image show`: what an archive or a delta holds, what it needs, and whether it would load here.

use serde::Serialize;
use silt::delta_image::KindShare;
use silt::load::{Input, LoadError, LoadOptions, LoadPlan, OpenedInput, open_input, plan_load};
use silt::show::{Contents, ShownDelta, ShownImage, ShownSkipped, show};
use silt::trust::{Demand, Signer, Trust};
use silt::{DiffId, Failure, FailureKind, OpenMode, Store};

use super::plan_text::{plan_text, signer_text};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, with_causes};
use crate::output::{self, exact_size, joined, one_line};

/// So many layers that a delta needs are listed.
const SHOWN_LAYERS: usize = 4;

pub(crate) struct ShowTask {
    pub(crate) input: Input,
    pub(crate) options: LoadOptions,
    pub(crate) is_json: bool,
}

#[derive(Serialize)]
struct Shown {
    /// Which file, where a folder was asked about.
    file: String,
    /// How large it is; of a pipe, how much came.
    bytes: Option<u64>,
    signer: Option<Signer>,
    #[serde(flatten)]
    contents: Contents,
    /// What loading it here would do; `null` where it cannot be loaded here.
    plan: Option<LoadPlan>,
    /// Why it cannot be loaded here.
    problem: Option<String>,
}

pub(super) fn run(context: &Context, task: &ShowTask) -> CommandResult {
    let store = context.open_store(OpenMode::ReadOnly)?;
    let progress = context.reporter();
    let policy = context.policy()?;
    let trust = Trust { demand: Demand::Look, ..context.trust(policy.as_ref())? };
    let options = LoadOptions { trust, policy, is_dry_run: true, ..task.options.clone() };
    let opened = open_input(&task.input, &store, &options, progress.as_ref())?;
    let contents = show(&opened)?;
    let (plan, problem) = plan_here(context, &opened, &store, &options)?;
    drop(progress);
    let (file, bytes) = (opened.archive.path().display().to_string(), opened.size_bytes());
    let signer = opened.signer.clone();
    let shown = Shown { file, bytes, signer, contents, plan, problem };
    match task.is_json {
        true => output::print_json(&shown),
        false => output::print(&text(&shown)),
    }
}

/// That a file cannot be loaded here is something to show; that it is damaged is a failure.
fn plan_here(
    context: &Context,
    opened: &OpenedInput,
    store: &Store,
    options: &LoadOptions,
) -> Result<(Option<LoadPlan>, Option<String>), CommandError> {
    let planned: Result<LoadPlan, LoadError> =
        plan_load(opened, store, options, context.reporter().as_ref());
    match planned {
        // What the policy forbids has a plan, and will not be loaded.
        Ok(plan) => {
            let forbidden = plan.enforce_policy().err().map(|error| with_causes(&error));
            Ok((Some(plan), forbidden))
        }
        Err(error) if matches!(error.kind(), FailureKind::BaseMissing | FailureKind::NoRoom) => {
            Ok((None, Some(with_causes(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

fn text(shown: &Shown) -> String {
    let images: String = shown.contents.images.iter().map(image_text).collect();
    let skipped: String = shown.contents.skipped.iter().map(skipped_text).collect();
    let here = match (&shown.plan, &shown.problem) {
        (Some(plan), None) => format!("Here:\n{}", plan_text(plan)),
        (Some(plan), Some(problem)) => {
            format!("Here: cannot be loaded: {}\n{}", one_line(problem), plan_text(plan))
        }
        (None, problem) => {
            format!("Here: cannot be loaded: {}\n", one_line(problem.as_deref().unwrap_or("")))
        }
    };
    let bytes = shown.bytes.map(|bytes| format!(", {}", exact_size(bytes))).unwrap_or_default();
    let file = format!("File {}{bytes}\n", one_line(&shown.file));
    // Where there is a plan, it says so.
    let signer = shown.signer.as_ref().filter(|_| shown.plan.is_none());
    let signer = signer.map(signer_text).unwrap_or_default();
    file + &signer + &images + &skipped + &here
}

fn image_text(image: &ShownImage) -> String {
    let kind = if image.delta.is_some() { "Delta" } else { "Image" };
    let stored = image.layers.iter().filter_map(|layer| layer.stored_bytes);
    let stored = exact_size(stored.fold(0, u64::saturating_add));
    let mut text = format!("{kind} {}\n", image.id);
    let mut fact = |what: &str, value: &str| {
        if !value.is_empty() {
            text += &format!("  {what:<10} {}\n", one_line(value));
        }
    };
    fact("names", &joined(&image.names));
    fact("platform", &image.platform.to_string());
    fact("created", image.created.as_deref().unwrap_or_default());
    fact("layers", &format!("{}, {stored} in the input", image.layers.len()));
    if let Some(delta) = &image.delta {
        delta_facts(delta, &mut fact);
    }
    text
}

fn delta_facts(delta: &ShownDelta, fact: &mut dyn FnMut(&str, &str)) {
    fact("format", &delta.format.to_string());
    fact("makes", format!("{} {}", delta.target, joined(&delta.target_names)).trim_end());
    fact("output", &delta.output_bytes.map(exact_size).unwrap_or_default());
    fact("base", &delta.base.map(|base| base.to_string()).unwrap_or_default());
    fact("needs", &layers_text(&delta.needs));
    fact("memory", &delta.memory_bytes.map(exact_size).unwrap_or_default());
    fact("spent on", &kinds_text(&delta.kinds));
}

fn kinds_text(kinds: &[KindShare]) -> String {
    let text = |share: &KindShare| match share.files {
        0 => format!("{} {}", share.kind, exact_size(share.stored_bytes)),
        1 => format!("{} {} (1 file)", share.kind, exact_size(share.stored_bytes)),
        n => format!("{} {} ({n} files)", share.kind, exact_size(share.stored_bytes)),
    };
    kinds.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn layers_text(layers: &[DiffId]) -> String {
    let shown = layers.iter().take(SHOWN_LAYERS).map(ToString::to_string);
    let mut texts: Vec<String> = shown.collect();
    if layers.len() > SHOWN_LAYERS {
        texts.push(format!("and {} more layers", layers.len() - SHOWN_LAYERS));
    }
    texts.join(" ")
}

fn skipped_text(image: &ShownSkipped) -> String {
    let names = joined(&image.names);
    format!("Left out: {names} for {}\n", one_line(&image.platforms.join(", ")))
}
