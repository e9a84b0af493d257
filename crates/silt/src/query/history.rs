//! How an image came into being.

use serde::Serialize;
use store::{Store, StoredLayer};
use tarball::config::HistoryEntry;
use tarball::{DiffId, ImageId};

use super::{QueryError, details_of};
use crate::place::SourceImage;

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryStep {
    /// The image, for the last step of all; nothing is known of the images in between.
    pub image: Option<ImageId>,
    /// When, as the config says it (RFC 3339).
    pub created: Option<String>,
    /// The command.
    pub created_by: Option<String>,
    /// What the tool wrote beside it.
    pub comment: Option<String>,
    /// The layer that the step made, where it made one.
    pub diff_id: Option<DiffId>,
    /// The size of that layer's uncompressed tar, else 0.
    pub size_bytes: u64,
}

/// The steps of an image's making, the last one first. A layer that the config's history does not
/// mention is a step of its own.
pub fn history(store: &Store, reference: &str) -> Result<Vec<HistoryStep>, QueryError> {
    let details = details_of(store, store.snapshot()?.resolve(reference)?.clone())?;
    let mut steps = steps_of(&details.config.history, &details.image.layers);
    if let Some(first) = steps.first_mut() {
        first.image = Some(details.image.id);
    }
    Ok(steps)
}

/// The same of an image of any place.
pub fn history_of(image: &SourceImage) -> Vec<HistoryStep> {
    let layers = image.layers.iter();
    let layers =
        layers.map(|layer| StoredLayer { diff_id: layer.diff_id, size_bytes: layer.size_bytes() });
    let mut steps = steps_of(&image.config.history, &layers.collect::<Vec<_>>());
    if let Some(first) = steps.first_mut() {
        first.image = Some(image.config.id);
    }
    steps
}

fn steps_of(history: &[HistoryEntry], layers: &[StoredLayer]) -> Vec<HistoryStep> {
    let mut layers = layers.iter();
    let mut steps: Vec<HistoryStep> = Vec::new();
    for entry in history {
        let layer = if entry.empty_layer { None } else { layers.next() };
        steps.push(step(entry, layer));
    }
    steps.extend(layers.map(|layer| step(&HistoryEntry::default(), Some(layer))));
    steps.reverse();
    steps
}

fn step(entry: &HistoryEntry, layer: Option<&StoredLayer>) -> HistoryStep {
    HistoryStep {
        image: None,
        created: entry.created.clone(),
        created_by: entry.created_by.clone(),
        comment: entry.comment.clone(),
        diff_id: layer.map(|layer| layer.diff_id),
        size_bytes: layer.map_or(0, |layer| layer.size_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarball::Digest;

    fn layer(text: &str, size_bytes: u64) -> StoredLayer {
        StoredLayer { diff_id: DiffId(Digest::of(text.as_bytes())), size_bytes }
    }

    fn entry(command: &str, empty_layer: bool) -> HistoryEntry {
        let created_by = Some(command.to_owned());
        HistoryEntry { created_by, empty_layer, ..HistoryEntry::default() }
    }

    #[test]
    fn steps_without_a_layer_take_none() {
        let history = [entry("add", false), entry("env", true), entry("run", false)];
        let steps = steps_of(&history, &[layer("a", 1), layer("b", 2)]);
        let found: Vec<_> =
            steps.iter().map(|s| (s.created_by.as_deref().unwrap(), s.size_bytes)).collect();
        assert_eq!(found, [("run", 2), ("env", 0), ("add", 1)]);
    }

    #[test]
    fn a_history_that_is_too_short_or_too_long_loses_nothing() {
        let layers = [layer("a", 1), layer("b", 2)];
        let steps = steps_of(&[entry("add", false)], &layers);
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].size_bytes, &steps[0].created_by), (2, &None));
        let history = [entry("1", false), entry("2", false), entry("3", false)];
        let steps = steps_of(&history, &layers);
        assert_eq!((steps.len(), steps[0].diff_id), (3, None));
    }
}
