//! What the commands do: each calls one operation of `silt` and shows its result.

mod check;
mod copy;
mod delta;
mod destination;
mod df;
mod engines;
mod history;
mod inspect;
mod layers;
mod load;
mod ls;
mod merge;
mod plan_text;
mod prune;
mod record;
mod rm;
mod save;
mod several;
mod show;
mod sign;
mod tag;
mod trust;
mod unpack;
mod verify;

use std::path::{Path, PathBuf};

use silt::{OpenMode, Store};

use crate::args::{self, Invocation};
use crate::context::Context;
use crate::error::{CommandError, CommandResult, OutputError};
use crate::output;

pub(crate) use check::CheckOptions;
pub(crate) use copy::CopyTask;
pub(crate) use delta::DeltaTask;
pub(crate) use destination::DeltaDestination;
pub(crate) use df::DfOptions;
pub(crate) use engines::EnginesOptions;
pub(crate) use history::HistoryOptions;
pub(crate) use inspect::InspectOptions;
pub(crate) use layers::LayersOptions;
pub(crate) use load::{ApplyTask, LoadTask, Manner};
pub(crate) use ls::LsOptions;
pub(crate) use merge::MergeTask;
pub(crate) use prune::PruneOptions;
pub(crate) use rm::RmOptions;
pub(crate) use save::SaveTask;
pub(crate) use several::{FromTask, SeveralTask};
pub(crate) use show::ShowTask;
pub(crate) use sign::{SignKey, SignSource, SignTask};
pub(crate) use tag::TagOptions;
pub(crate) use trust::TrustTask;
pub(crate) use unpack::UnpackOptions;
pub(crate) use verify::VerifyOptions;

/// One thing to do.
pub(crate) enum Task {
    Delta(DeltaTask),
    Several(SeveralTask),
    Merge(MergeTask),
    Save(SaveTask),
    Load(LoadTask),
    Apply(ApplyTask),
    Ls(LsOptions),
    Inspect(InspectOptions),
    History(HistoryOptions),
    Layers(LayersOptions),
    Tag(TagOptions),
    Rm(RmOptions),
    Verify(VerifyOptions),
    Show(ShowTask),
    Sign(SignTask),
    Trust(TrustTask),
    Unpack(UnpackOptions),
    Df(DfOptions),
    Prune(PruneOptions),
    Check(CheckOptions),
    Copy(CopyTask),
    Engines(EnginesOptions),
    /// Help, a version, a script.
    Print(String),
    /// Manual pages, into a directory.
    Man(PathBuf),
}

/// Does what the command line asks for.
pub(crate) fn run(invocation: Invocation) -> CommandResult {
    let Invocation { context, task } = invocation;
    match task {
        Task::Delta(task) => delta::run(&context, &task),
        Task::Several(task) => several::run(&context, &task),
        Task::Merge(task) => merge::run(&context, &task),
        Task::Save(task) => save::run(&context, &task),
        Task::Load(task) => load::run(&context, &task),
        Task::Apply(task) => load::run_apply(&context, &task),
        Task::Ls(options) => ls::run(&context, &options),
        Task::Inspect(options) => inspect::run(&context, &options),
        Task::History(options) => history::run(&context, &options),
        Task::Layers(options) => layers::run(&context, &options),
        Task::Tag(options) => tag::run(&context, &options),
        Task::Rm(options) => rm::run(&context, &options),
        Task::Verify(options) => verify::run(&context, &options),
        Task::Show(task) => show::run(&context, &task),
        Task::Sign(task) => sign::run(&context, &task),
        Task::Trust(task) => trust::run(&context, &task),
        Task::Unpack(options) => unpack::run(&context, &options),
        Task::Df(options) => df::run(&context, &options),
        Task::Prune(options) => prune::run(&context, &options),
        Task::Check(options) => check::run(&context, &options),
        Task::Copy(task) => copy::run(&context, &task),
        Task::Engines(options) => engines::run(&context, &options),
        Task::Print(text) => output::print(&text),
        Task::Man(directory) => write_manual(&directory),
    }
}

fn write_manual(directory: &Path) -> CommandResult {
    let command = args::command(args::CalledAs::Silt);
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|source| OutputError::Manual { directory: directory.to_owned(), source })?;
    Ok(())
}

/// The store for a command that changes it, once it is known that it holds all these images: so a
/// wrong name is told before anything is changed, and no store is made for it.
fn open_with_images(context: &Context, references: &[String]) -> Result<Store, CommandError> {
    let store = context.open_store(OpenMode::ReadOnly)?;
    silt::query::resolve_all(&store, references)?;
    context.open_store(OpenMode::ReadWrite)
}
