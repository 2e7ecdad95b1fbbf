//! Images of the store.
use super::assemble::AssembledImage;
use crate::lock::LayerBytes;
use crate::progress::Progress;
use crate::store::Store;
pub struct LoadableImage<'a>(&'a AssembledImage, &'a Store);
impl<'a> LoadableImage<'a> {
    pub fn new(a: &'a AssembledImage, s: &'a Store) -> Self {
        Self(a, s)
    }
}
impl crate::engine::ImageArchive for LoadableImage<'_> {
    fn length(&self) -> Option<crate::units::ByteSize> {
        None
    }
    fn write_to(&self, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Ok(())
    }
}
pub fn measure(_: &AssembledImage, _: &dyn Progress) -> Result<Vec<LayerBytes>, super::assemble::AssembleError> {
    Ok(Vec::new())
}
