//! What surrounds a load: hooks before and after it, and a report of how it went.

use std::path::{Path, PathBuf};
use std::time::Instant;

use silt::hooks::{HookError, HookInput, HookMoment, run_hooks};
use silt::load::{LoadPlan, LoadReport, OpenedInput};
use silt::place::PlaceRef;
use silt::report::{Change, DeviceReport, LoadResult, changes};
use silt::{Failure, FailureKind};

use crate::context::Context;
use crate::error::{CommandError, CommandResult, exit_code, with_causes};
use crate::output;

/// A load that is under way.
pub(super) struct Record<'a> {
    context: &'a Context,
    started: Instant,
    is_dry_run: bool,
    report_path: Option<&'a Path>,
    report: DeviceReport,
    /// The plan as JSON, once there is one.
    plan: Option<String>,
    /// Whether hooks were told of it, and so want to hear of the end.
    is_announced: bool,
}

/// The load is done, and something around it is not.
#[derive(Debug, thiserror::Error)]
#[error("the images are loaded, but {what}")]
pub(super) struct AfterError {
    what: String,
    kind: FailureKind,
}

impl Failure for AfterError {
    fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl<'a> Record<'a> {
    pub(super) fn new(
        context: &'a Context,
        file: &str,
        report_path: Option<&'a Path>,
        is_dry_run: bool,
    ) -> Self {
        let report = DeviceReport {
            version: DeviceReport::VERSION,
            device: context.device_name(),
            device_type: None,
            silt: env!("CARGO_PKG_VERSION").to_owned(),
            time: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string(),
            seconds: 0.0,
            result: LoadResult::Failed,
            exit_code: 0,
            error: None,
            file: file.to_owned(),
            file_digest: None,
            file_bytes: None,
            signer: None,
            policy: Vec::new(),
            images: Vec::new(),
            read_bytes: 0,
            written_bytes: 0,
            warnings: Vec::new(),
        };
        let (started, plan, is_announced) = (Instant::now(), None, false);
        Self { context, started, is_dry_run, report_path, report, plan, is_announced }
    }

    /// Notes what file it is. Hashing it takes a reading of its own, so that is done for a report alone.
    pub(super) fn opened(&mut self, opened: &OpenedInput, device_type: Option<&str>) {
        self.report.device_type = device_type.map(str::to_owned);
        self.report.signer = opened.signer.clone();
        let path = opened.archive.path();
        self.report.file = path.display().to_string();
        if self.report_path.is_some()
            && let Ok(Some((digest, bytes))) = opened.digest()
        {
            self.report.file_digest = Some(digest);
            self.report.file_bytes = Some(bytes);
        }
    }

    /// Notes what will be done.
    pub(super) fn planned(&mut self, place: PlaceRef<'_>, plan: &LoadPlan) -> CommandResult {
        self.report.policy = plan.policy.clone();
        self.report.images = changes(place, plan)?;
        self.plan = serde_json::to_string(plan).ok();
        Ok(())
    }

    /// Lets the hooks have a say.
    pub(super) fn announce(&mut self) -> Result<(), HookError> {
        self.is_announced = true;
        let input = HookInput {
            variables: self.variables(),
            document: self.plan.clone().unwrap_or_default(),
        };
        run_hooks(&self.context.hooks_folder(), HookMoment::PreLoad, &input)
    }

    pub(super) fn loaded(&mut self, loaded: &LoadReport) {
        self.report.add_loaded(loaded);
    }

    /// Tells hooks and the report how it went, and whoever asked.
    pub(super) fn end(mut self, result: CommandResult) -> CommandResult {
        self.report.seconds = self.started.elapsed().as_secs_f64();
        match &result {
            Ok(()) if self.is_dry_run => self.report.result = LoadResult::DryRun,
            Ok(()) | Err(CommandError::ReaderGone) => {}
            Err(CommandError::Failed(failure)) => {
                self.report.result = LoadResult::Failed;
                self.report.exit_code = exit_code(failure.kind());
                self.report.error = Some(output::one_line(&with_causes(failure.as_ref())));
            }
        }
        let hooks = self.tell_hooks().err().map(|error| after(&error));
        let written = self.write_report().err();
        let Some(what) = hooks.or(written) else { return result };
        match result {
            Ok(()) => Err(what.into()),
            // The first failure is what counts; of the second something is said.
            Err(error) => {
                self.context.note(&format!("warning: {}", what.what));
                Err(error)
            }
        }
    }

    fn tell_hooks(&mut self) -> Result<(), HookError> {
        if !self.is_announced {
            return Ok(());
        }
        let document = serde_json::to_string(&self.report).unwrap_or_default();
        let mut variables = self.variables();
        let result = serde_json::to_string(&self.report.result).unwrap_or_default();
        variables.push(("SILT_RESULT", result.trim_matches('"').to_owned()));
        variables.push(("SILT_EXIT_CODE", self.report.exit_code.to_string()));
        let input = HookInput { variables, document };
        let told = run_hooks(&self.context.hooks_folder(), HookMoment::PostLoad, &input);
        told.inspect_err(|error| self.report.warnings.push(with_causes(error)))
    }

    fn write_report(&self) -> Result<(), AfterError> {
        let Some(path) = self.report_path else { return Ok(()) };
        self.report.write(path).map(drop).map_err(|error| after(&error))
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let report = &self.report;
        let joined = |values: Vec<String>| values.join(" ");
        let of = |value: &dyn Fn(&Change) -> Vec<String>| {
            joined(report.images.iter().flat_map(value).collect())
        };
        let signer = report.signer.as_ref().filter(|signer| signer.is_trusted);
        vec![
            ("SILT_INPUT", report.file.clone()),
            ("SILT_DEVICE", report.device.clone()),
            ("SILT_SIGNER", signer.map(|signer| signer.key_id.to_string()).unwrap_or_default()),
            ("SILT_FROM", of(&|c| c.from.iter().map(|m| m.image.to_string()).collect())),
            ("SILT_TO", of(&|c| vec![c.to.to_string()])),
            ("SILT_NAMES", of(&|c| c.names.iter().map(ToString::to_string).collect())),
            ("SILT_PLAN", self.plan.clone().unwrap_or_default()),
        ]
    }
}

fn after(error: &dyn Failure) -> AfterError {
    // Whatever it was, the load was neither refused nor short of room.
    AfterError { what: with_causes(error), kind: FailureKind::Other }
}

/// The file of a report, or the folder where it gets a name.
pub(crate) type ReportPath = Option<PathBuf>;

/// For reports about what is no file.
pub(super) fn name_of(path: Option<&Path>) -> String {
    path.map_or("standard input".to_owned(), |path| path.display().to_string())
}
