//! Doing what a plan says: layers in order, then all images at once.

use std::collections::{BTreeMap, HashMap, HashSet};

use store::{NewImage, Pins};
use tarball::DiffId;

use super::layer_job::{Job, is_worth_resuming};
use super::plan::{Action, ImagePlan, LayerPlan, LoadPlan};
use super::repair::Repair;
use super::{Candidates, LoadError, LoadReport, LoadedImage, RepairedLayer};
use crate::progress::{Progress, Step};
use crate::sink::ImageTransaction;

pub(super) fn execute<T: ImageTransaction>(
    candidates: &Candidates<'_>,
    plan: &LoadPlan,
    mut sink: T,
    progress: &dyn Progress,
) -> Result<LoadReport, LoadError> {
    let _pins = hold_all(&mut sink, plan)?;
    sink.expect_reads(read_again(plan));
    let impossible = impossible_repairs(plan);
    let (read_bytes, repaired) = match make_layers(candidates, plan, &mut sink, progress) {
        // The next load goes on from what is there.
        Err(error) if is_worth_resuming(&error, progress) => {
            sink.suspend();
            return Err(error);
        }
        made => made?,
    };
    if !impossible.is_empty() {
        sink.commit(Vec::new())?;
        return Err(LoadError::NotRepaired { layers: impossible, repaired });
    }
    progress.begin(&Step::Publishing, None);
    let committed = sink.commit(plan.images.iter().map(new_image).collect())?;
    progress.end();
    let images = committed.images.iter().zip(&plan.images).map(|(done, image)| LoadedImage {
        id: done.id,
        names: image.names.clone(),
        was_present: done.was_there,
    });
    Ok(LoadReport {
        images: images.collect(),
        read_bytes,
        written_bytes: committed.written_bytes,
        saved_bytes: present_bytes(plan).saturating_add(committed.resumed_bytes),
        resumed_bytes: committed.resumed_bytes,
        spooled_bytes: plan.spooled_bytes,
        repaired,
        deleted: Vec::new(),
        signer: plan.signer.clone(),
        policy: plan.policy.clone(),
    })
}

/// Makes what is missing; gives how many bytes of the input that took, and what was mended.
fn make_layers<T: ImageTransaction>(
    candidates: &Candidates<'_>,
    plan: &LoadPlan,
    sink: &mut T,
    progress: &dyn Progress,
) -> Result<(u64, Vec<RepairedLayer>), LoadError> {
    let is_all_possible = impossible_repairs(plan).is_empty();
    let (mut read_bytes, mut repaired) = (0, Vec::new());
    for number in &plan.order {
        let (candidate, image) = (&candidates[*number], &plan.images[*number]);
        for (index, layer) in image.layers.iter().enumerate() {
            // Where not all can be mended, what can be is, and nothing else is done.
            if !is_all_possible && !matches!(layer.action, Action::Repair(_)) {
                continue;
            }
            let job = Job { candidate, image, index, layer, plan, progress };
            let made = job.make(sink)?;
            read_bytes += made.read_bytes;
            repaired.extend(made.repaired);
        }
    }
    Ok((read_bytes, repaired))
}

/// The layers that this load makes and then reads: those that deltas of others are applied to.
fn read_again(plan: &LoadPlan) -> HashSet<DiffId> {
    let layers = || plan.images.iter().flat_map(|image| &image.layers);
    let kept = layers().flat_map(|layer| layer.kept_layers());
    let themselves = layers().filter(|layer| layer.reads_itself()).map(|layer| layer.diff_id);
    let origins: HashSet<DiffId> = kept.chain(themselves).collect();
    let made = layers().filter(|layer| layer.action != Action::Present);
    made.map(|layer| layer.diff_id).filter(|layer| origins.contains(layer)).collect()
}

/// Bytes of layers that were there before.
fn present_bytes(plan: &LoadPlan) -> u64 {
    let layers = plan.images.iter().flat_map(|image| &image.layers);
    let mut sizes = HashMap::new();
    for layer in layers {
        let is_present = layer.action == Action::Present;
        let bytes = layer.size_bytes.filter(|_| is_present).unwrap_or(0);
        // What an earlier part of the load makes is not saved.
        sizes
            .entry(layer.diff_id)
            .and_modify(|known: &mut u64| *known = bytes.min(*known))
            .or_insert(bytes);
    }
    sizes.into_values().fold(0, u64::saturating_add)
}

/// The damaged layers that the input cannot make, with the reasons.
fn impossible_repairs(plan: &LoadPlan) -> Vec<(DiffId, String)> {
    let layers = plan.images.iter().flat_map(|image| &image.layers);
    let found = layers.filter_map(|layer| match &layer.action {
        Action::Repair(Repair::Impossible { why }) => Some((layer.diff_id, why.clone())),
        _ => None,
    });
    found.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Whatever was there when the plan was made, and is needed, stays until the end: in the store, and in
/// others while the pins that are returned live.
fn hold_all(sink: &mut impl ImageTransaction, plan: &LoadPlan) -> Result<Vec<Pins>, LoadError> {
    // What the input itself has need not be held.
    let mut seen: HashSet<DiffId> = plan.shared.clone();
    let mut pins = Vec::new();
    for image in plan.order.iter().map(|number| &plan.images[*number]) {
        let mut needed = Vec::new();
        for layer in &image.layers {
            needed.extend(needed_by(layer).into_iter().filter(|layer| seen.insert(*layer)));
            seen.insert(layer.diff_id);
        }
        let elsewhere = sink.hold(&needed)?;
        let (held, missing) = plan.bases.hold(&elsewhere)?;
        if let Some(layer) = missing {
            return Err(LoadError::LayerGone { image: image.id, layer });
        }
        pins.extend(held);
    }
    Ok(pins)
}

/// The layers that must be there for a layer to be made, or to stay.
fn needed_by(layer: &LayerPlan) -> Vec<DiffId> {
    match &layer.action {
        Action::Repair(Repair::Blocks { .. }) => {
            [vec![layer.diff_id], layer.read_layers()].concat()
        }
        Action::Repair(Repair::Whole { .. }) => layer.read_layers(),
        Action::Repair(Repair::Digests) => vec![layer.diff_id],
        Action::Repair(Repair::Impossible { .. }) => Vec::new(),
        _ => layer.kept_layers(),
    }
}

fn new_image(plan: &ImagePlan) -> NewImage {
    NewImage {
        config: plan.config.clone(),
        names: plan.names.clone(),
        original_manifest: plan.manifest.clone(),
        ..NewImage::default()
    }
}
