//! `image tag`: one more name.

use silt::Name;

use super::open_with_images;
use crate::context::Context;
use crate::error::CommandResult;
use crate::places::{Places, one_engine};

pub(crate) struct TagOptions {
    pub(crate) image: String,
    pub(crate) name: Name,
}

pub(super) fn run(context: &Context, options: &TagOptions) -> CommandResult {
    if let Some((kind, names)) = one_engine(context, std::slice::from_ref(&options.image))? {
        let engine = Places::for_reading(context)?.engine(kind)?;
        for name in &names {
            engine.tag(name, &options.name)?;
        }
        return Ok(());
    }
    let store = open_with_images(context, std::slice::from_ref(&options.image))?;
    store.tag(&options.image, &options.name)?;
    Ok(())
}
