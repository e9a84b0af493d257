//! A folder with update files, such as a stick: the newest that can be loaded here is taken.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::input::Opening;
use super::{LoadError, LoadOptions, LoadPlan, OpenedInput, plan_load};
use crate::delta_image::DeltaImage;
use crate::failure::{Failure, FailureKind};
use crate::parts::list_path;

/// What a layout has, and a folder of update files has not.
const LAYOUT_FILES: [&str; 3] = ["oci-layout", "index.json", "manifest.json"];
/// How update files end.
const ENDINGS: [&str; 7] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".000"];
/// Files that are looked into.
const MAX_FILES: usize = 1000;

/// An update file that was not taken.
#[derive(Debug)]
pub struct PassedOver {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub why: LoadError,
}

/// Whether a folder is one of update files, and not a layout.
pub(super) fn is_of_files(path: &Path) -> bool {
    !LAYOUT_FILES.iter().any(|file| path.join(file).exists())
}

/// Opens the newest file of a folder that can be loaded, and plans it.
pub(super) fn choose(opening: &Opening<'_>, folder: &Path) -> Result<OpenedInput, LoadError> {
    let mut files: Vec<(Option<Timestamp>, PathBuf, OpenedInput)> = Vec::new();
    let mut passed_over = Vec::new();
    for path in update_files(folder)? {
        match opening.path(&path) {
            Ok(opened) => files.push((newest_target(&opened), path, opened)),
            Err(why) if is_of_others(&why) => passed_over.push(PassedOver { path, why }),
            Err(error) => return Err(error),
        }
    }
    files.sort_by(|a, b| (&b.0, &b.1).cmp(&(&a.0, &a.1)));
    for (_, path, mut opened) in files {
        // A file that may not be loaded is passed over also where the plan is only shown.
        let options = LoadOptions { is_dry_run: false, ..opening.options.clone() };
        let planned: Result<LoadPlan, LoadError> =
            plan_load(&opened, opening.place, &options, opening.progress);
        match planned {
            Ok(plan) => {
                opened.planned.replace(Some(Box::new(plan)));
                opened.passed_over = passed_over;
                return Ok(opened);
            }
            Err(why) if is_of_others(&why) => passed_over.push(PassedOver { path, why }),
            Err(error) => return Err(error),
        }
    }
    // What the most promising one failed for says most; one that is no archive at all says least.
    let best = passed_over.iter().rposition(|file| file.why.kind() != FailureKind::Damaged);
    match (best, passed_over.is_empty()) {
        (_, true) => Err(LoadError::NoUpdate { folder: folder.to_owned() }),
        (best, false) => {
            let file = passed_over.swap_remove(best.unwrap_or(0));
            Err(LoadError::NothingApplies { path: file.path, why: Box::new(file.why) })
        }
    }
}

/// Whether the next file may do better.
fn is_of_others(error: &LoadError) -> bool {
    use FailureKind::{BaseMissing, Damaged, Forbidden, NoRoom, NoSuchImage, Signature};
    matches!(error.kind(), BaseMissing | Damaged | Forbidden | NoRoom | NoSuchImage | Signature)
}

/// The files of a folder that are called like archives, by name.
fn update_files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let error = |source| LoadError::Open { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
        let name = name.unwrap_or_default();
        let is_update = !name.starts_with('.') && ENDINGS.iter().any(|end| name.ends_with(end));
        if is_update && path.is_file() {
            files.push(path);
        } else if let Some(whole) = lost_first_part(&path) {
            files.push(whole);
        }
        if files.len() > MAX_FILES {
            break;
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The first part of an archive of which only the list was found: so that it is named as missing.
fn lost_first_part(list: &Path) -> Option<PathBuf> {
    let text = list.to_str()?.strip_suffix("-parts.json")?;
    let whole = Path::new(text);
    let first = crate::parts::part_path(whole, 0);
    (list_path(whole) == list && !first.exists()).then_some(first)
}

/// When the newest of the images was made that a file makes.
fn newest_target(input: &OpenedInput) -> Option<Timestamp> {
    let images = input.archive.images().iter();
    let created = images.filter_map(|image| {
        let delta = DeltaImage::of(&image.config).ok().flatten();
        let target = delta.as_ref().map_or(&image.config, |delta| &delta.target);
        target.created.as_ref()?.parse().ok()
    });
    created.max()
}
