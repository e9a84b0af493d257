//! `image tag`: one more name.

use silt::Name;

use super::open_with_images;
use crate::context::Context;
use crate::error::CommandResult;

pub(crate) struct TagOptions {
    pub(crate) image: String,
    pub(crate) name: Name,
}

pub(super) fn run(context: &Context, options: &TagOptions) -> CommandResult {
    let store = open_with_images(context, std::slice::from_ref(&options.image))?;
    store.tag(&options.image, &options.name)?;
    Ok(())
}
