//! The command from outside: what users see, and what scripts rely on.

mod bench;
mod crafted;
mod delta;
mod device;
mod edit;
mod engine_failures;
mod errors;
mod help;
mod interrupt;
mod load;
mod look;
mod manual;
mod merge;
mod places;
mod progress;
mod repair;
mod save;
mod several;
mod stick;
