//! In which order the images of one input are made: each after its base.

use std::collections::{HashMap, HashSet};

use tarball::{DiffId, ImageId};

use super::known::Known;
use super::{Candidates, LoadError};
use crate::delta_image::DeltaImage;

/// The numbers of the candidates, each after those that make its base; otherwise as the input has
/// them. Where they want each other nothing helps, and the first of them will say so.
pub(super) fn of(
    candidates: &Candidates<'_>,
    deltas: &[Option<DeltaImage>],
    known: &mut Known<'_>,
) -> Result<Vec<usize>, LoadError> {
    let mut waiting = Vec::with_capacity(candidates.len());
    let mut makers = Makers::default();
    for (number, (candidate, delta)) in candidates.iter().zip(deltas).enumerate() {
        let target = delta.as_ref().map_or(&candidate.config, |delta| &delta.target);
        let made: HashSet<DiffId> = target.diff_ids.iter().copied().collect();
        makers.add(target.id, &made);
        let wanted = wanted_by(delta.as_ref(), known)?;
        waiting.push(Waiting { number, target: target.id, made, wanted });
    }
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let next = waiting.iter().position(|waiting| !makers.make_base_of(waiting)).unwrap_or(0);
        let next = waiting.remove(next);
        makers.remove(&next);
        order.push(next.number);
    }
    Ok(order)
}

/// An image that is not in the order yet.
struct Waiting {
    number: usize,
    target: ImageId,
    made: HashSet<DiffId>,
    wanted: Wanted,
}

/// What a delta wants that is not here.
#[derive(Default)]
struct Wanted {
    image: Option<ImageId>,
    layers: Vec<DiffId>,
}

fn wanted_by(delta: Option<&DeltaImage>, known: &mut Known<'_>) -> Result<Wanted, LoadError> {
    let Some(delta) = delta else { return Ok(Wanted::default()) };
    Ok(match &delta.base_layers {
        Some(layers) => Wanted { image: None, layers: known.missing(layers)? },
        None => {
            let image = delta.base.filter(|base| known.image_layers(*base).is_none());
            Wanted { image, layers: Vec::new() }
        }
    })
}

/// What the images that wait will make, and how many of them make it.
#[derive(Default)]
struct Makers {
    images: HashMap<ImageId, usize>,
    layers: HashMap<DiffId, usize>,
}

impl Makers {
    fn add(&mut self, target: ImageId, made: &HashSet<DiffId>) {
        *self.images.entry(target).or_default() += 1;
        made.iter().for_each(|layer| *self.layers.entry(*layer).or_default() += 1);
    }

    fn remove(&mut self, done: &Waiting) {
        self.images.entry(done.target).and_modify(|count| *count -= 1);
        for layer in &done.made {
            self.layers.entry(*layer).and_modify(|count| *count -= 1);
        }
    }

    /// Whether another image makes something that this one wants.
    fn make_base_of(&self, waiting: &Waiting) -> bool {
        let is_made =
            |count: Option<&usize>, own: bool| count.is_some_and(|count| *count > usize::from(own));
        let Wanted { image, layers } = &waiting.wanted;
        image.is_some_and(|image| is_made(self.images.get(&image), image == waiting.target))
            || layers
                .iter()
                .any(|layer| is_made(self.layers.get(layer), waiting.made.contains(layer)))
    }
}
