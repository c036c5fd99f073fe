//! Pictures of a display.

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, ImageOrder};

use super::server::{Server, ServerError};

/// Bits of a pixel in memory: eight each of blue, green, red, and of nothing.
const PIXEL_BITS: u8 = 32;
const PIXEL_BYTES: usize = 4;

/// Every plane of a pixel.
const ALL_PLANES: u32 = u32::MAX;

impl Server {
    /// What the display shows, as PNG.
    pub(super) fn picture(&self) -> Result<Vec<u8>, ServerError> {
        let (width, height) = (self.width, self.height);
        let image = self
            .connection
            .get_image(
                ImageFormat::Z_PIXMAP,
                self.root,
                0,
                0,
                width,
                height,
                ALL_PLANES,
            )?
            .reply()?;
        let setup = self.connection.setup();
        let format = setup.pixmap_formats.iter().find(|f| f.depth == image.depth);
        let is_known = format.is_some_and(|f| f.bits_per_pixel == PIXEL_BITS)
            && setup.image_byte_order == ImageOrder::LSB_FIRST;
        if !is_known {
            return Err("its pixels are not of 32 bits, the lowest first".into());
        }
        let pixels = image.data.chunks_exact(PIXEL_BYTES);
        let rgb: Vec<u8> = pixels
            .flat_map(|pixel| [pixel[2], pixel[1], pixel[0]])
            .collect();
        png_of(width, height, &rgb).map_err(|error| error.to_string().into())
    }
}

/// Three bytes a pixel, as PNG.
fn png_of(width: u16, height: u16, rgb: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, u32::from(width), u32::from(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}
