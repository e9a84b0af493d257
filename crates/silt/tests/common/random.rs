//! Random images that belong together: the new one shares layers and files with the old one, in
//! other places, under other names, edited.

use super::Image;
use super::config::{ConfigStyle, config_style, config_text};
use super::content::layer_bytes;
use super::tars::Dialect;
use proptest::collection::vec;
use proptest::prelude::*;

/// Layers of the old image, and what was done to get the new one.
#[derive(Debug, Clone)]
pub struct Pair {
    old: Vec<Layer>,
    steps: Vec<Step>,
    configs: [ConfigStyle; 2],
}

#[derive(Debug, Clone)]
pub enum Layer {
    Tar {
        members: Vec<Entry>,
        ending: Ending,
    },
    /// No tar at all.
    Opaque {
        seed: u8,
        length: u16,
    },
    /// A tar without members.
    Empty,
    /// Not even that.
    Nothing,
}

/// How one layer of the new image comes about.
#[derive(Debug, Clone)]
enum Step {
    Same(usize),
    Edited(usize, Vec<(usize, Touch)>),
    Fresh(Layer),
    /// A layer of the new image comes again.
    Again(usize),
}

#[derive(Debug, Clone)]
enum Touch {
    Content(Edit),
    Rename(usize),
    Touched(u64),
    Removed,
    Written(Dialect),
}

#[derive(Debug, Clone, Copy)]
pub enum Edit {
    Overwrite(u16),
    Insert(u16),
    Delete(u16),
    Append,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub what: What,
    pub name: usize,
    pub mtime: u64,
    pub dialect: Dialect,
}

#[derive(Debug, Clone)]
pub enum What {
    /// One of a few contents, so that they recur.
    File {
        seed: u8,
        length: usize,
        edits: Vec<Edit>,
    },
    Folder,
    Symlink(usize),
    HardLink(usize),
    Fifo,
    Whiteout,
    OpaqueWhiteout,
}

#[derive(Debug, Clone, Copy)]
pub enum Ending {
    Proper,
    /// Filled up with zeros to 10,240 bytes, as GNU tar does.
    Record,
    Missing,
    Garbage(u8),
    Cut(u16),
}

pub fn pair() -> impl Strategy<Value = Pair> {
    let styles = [config_style(), config_style()];
    (vec(layer(), 1..=5), steps(), styles).prop_map(|(old, steps, configs)| Pair {
        old,
        steps,
        configs,
    })
}

impl Pair {
    pub fn images(&self) -> [Image; 2] {
        let new = apply(&self.old, &self.steps);
        [build(&self.old, self.configs[0]), build(&new, self.configs[1])]
    }

    /// The two, and a third that comes of the new one in the same way as that of the old one.
    pub fn three_images(&self) -> [Image; 3] {
        let [old, new] = self.images();
        let mut layers = apply(&self.old, &self.steps);
        layers.push(Layer::Opaque { seed: 77, length: 3_000 });
        let third = build(&apply(&layers, &self.steps), self.configs[0]);
        [old, new, third]
    }
}

/// The lowest layers are mostly shared.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<usize>;
    let touches = vec((index(), touch()), 1..4);
    let step = prop_oneof![
        2 => index().prop_map(Step::Same),
        5 => (index(), touches).prop_map(|(i, touches)| Step::Edited(i, touches)),
        2 => layer().prop_map(Step::Fresh),
        1 => index().prop_map(Step::Again),
    ];
    (0..=2_usize, vec(step, 0..=4)).prop_map(|(shared, steps)| {
        let bottom = (0..shared).map(Step::Same);
        bottom.chain(steps).collect()
    })
}

fn layer() -> impl Strategy<Value = Layer> {
    let ending = prop_oneof![
        6 => Just(Ending::Proper),
        2 => Just(Ending::Record),
        1 => Just(Ending::Missing),
        1 => any::<u8>().prop_map(Ending::Garbage),
        1 => any::<u16>().prop_map(Ending::Cut),
    ];
    prop_oneof![
        12 => (vec(entry(), 1..8), ending).prop_map(|(members, ending)| Layer::Tar { members, ending }),
        2 => (0..5_u8, 0..9_000_u16).prop_map(|(seed, length)| Layer::Opaque { seed, length }),
        1 => Just(Layer::Empty),
        1 => Just(Layer::Nothing),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let length = prop::sample::select(vec![0, 1, 511, 512, 700, 4_000, 20_000, 70_000]);
    let file = (0..5_u8, length, vec(edit(), 0..2));
    let what = prop_oneof![
        12 => file.prop_map(|(seed, length, edits)| What::File { seed, length, edits }),
        1 => Just(What::Folder),
        1 => any::<usize>().prop_map(What::Symlink),
        1 => any::<usize>().prop_map(What::HardLink),
        1 => Just(What::Fifo),
        1 => Just(What::Whiteout),
        1 => Just(What::OpaqueWhiteout),
    ];
    (what, any::<usize>(), 0..3_u64, dialect()).prop_map(|(what, name, mtime, dialect)| Entry {
        what,
        name,
        mtime,
        dialect,
    })
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(vec![Dialect::Gnu, Dialect::Pax, Dialect::PaxWithAttribute])
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<u16>;
    prop_oneof![
        at().prop_map(Edit::Overwrite),
        at().prop_map(Edit::Insert),
        at().prop_map(Edit::Delete),
        Just(Edit::Append),
    ]
}

fn touch() -> impl Strategy<Value = Touch> {
    prop_oneof![
        3 => edit().prop_map(Touch::Content),
        2 => any::<usize>().prop_map(Touch::Rename),
        2 => (0..2_000_000_000_u64).prop_map(Touch::Touched),
        1 => Just(Touch::Removed),
        1 => dialect().prop_map(Touch::Written),
    ]
}

fn apply(old: &[Layer], steps: &[Step]) -> Vec<Layer> {
    let mut new: Vec<Layer> = Vec::new();
    for step in steps {
        new.push(match step {
            Step::Same(index) => old[index % old.len()].clone(),
            Step::Edited(index, touches) => edited(&old[index % old.len()], touches),
            Step::Fresh(layer) => layer.clone(),
            Step::Again(_) if new.is_empty() => old[0].clone(),
            Step::Again(index) => new[index % new.len()].clone(),
        });
    }
    new
}

fn edited(layer: &Layer, touches: &[(usize, Touch)]) -> Layer {
    let mut layer = layer.clone();
    match &mut layer {
        Layer::Tar { members, .. } => {
            for (index, touch) in touches {
                if !members.is_empty() {
                    let index = index % members.len();
                    touch_member(members, index, touch);
                }
            }
        }
        Layer::Opaque { length, .. } => *length += 100,
        Layer::Empty | Layer::Nothing => layer = Layer::Opaque { seed: 1, length: 1 },
    }
    layer
}

fn touch_member(members: &mut Vec<Entry>, index: usize, touch: &Touch) {
    let member = &mut members[index];
    match (touch, &mut member.what) {
        (Touch::Content(edit), What::File { edits, .. }) => edits.push(*edit),
        (Touch::Content(_), _) => member.mtime += 1,
        (Touch::Rename(name), _) => member.name = *name,
        (Touch::Touched(mtime), _) => member.mtime = *mtime,
        (Touch::Written(dialect), _) => member.dialect = *dialect,
        (Touch::Removed, _) => drop(members.remove(index)),
    }
}

fn build(layers: &[Layer], style: ConfigStyle) -> Image {
    let layers: Vec<Vec<u8>> = layers.iter().map(layer_bytes).collect();
    let config = config_text(&layers, style).into_bytes();
    Image { layers, config }
}
