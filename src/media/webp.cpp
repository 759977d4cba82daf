// WebP through libwebp; of an animation the first frame on its (transparent) canvas.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <vector>

#include "media/codec.h"

namespace vl8::codec {
namespace {

WebPData view(const Input& in) {
  return {in.bytes(), in.size()};
}

int orientation_in(const Input& in) {
  WebPData data = view(in);
  std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (!demuxer) return 1;
  WebPChunkIterator chunk;
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk)) {
    orientation = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
    WebPDemuxReleaseChunkIterator(&chunk);
  }
  return orientation;
}

WebPBitstreamFeatures read_features(const Input& in) {
  WebPBitstreamFeatures f;
  if (WebPGetFeatures(in.bytes(), in.size(), &f) != VP8_STATUS_OK)
    fail_damaged(in, "WebP", "unreadable header");
  check_size(in, f.width, f.height);
  return f;
}

std::string_view status_text(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "the file is cut off";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "no memory to decode it";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "a feature this decoder does not know";
    default:
      return "the pixel data does not decode";
  }
}

void decode_animation(const Input& in, const DecodeOptions& options, Image& image) {
  WebPData data = view(in);
  WebPAnimDecoderOptions setup;
  if (!WebPAnimDecoderOptionsInit(&setup))
    fail(ErrorKind::internal, "libwebp is of another version than its headers");
  setup.color_mode = MODE_RGBA;
  std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, &setup), WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;  // the decoder's own canvas
  int end_ms = 0;
  WebPAnimInfo info;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) || int(info.canvas_width) != image.width ||
      int(info.canvas_height) != image.height || !WebPAnimDecoderGetNext(decoder.get(), &rgba, &end_ms))
    fail_damaged(in, "WebP", "the first frame of the animation does not decode");
  flatten_alpha(rgba, image.rgb.get(), int64_t(image.width) * image.height, options.alpha_on_white);
}

void decode_still(const Input& in, const DecodeOptions& options, bool alpha, Image& image) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config))
    fail(ErrorKind::internal, "libwebp is of another version than its headers");
  std::vector<uint8_t> rgba(alpha ? size_t(image.width) * size_t(image.height) * 4 : 0);
  config.output.colorspace = alpha ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = alpha ? rgba.data() : image.rgb.get();
  config.output.u.RGBA.stride = image.width * (alpha ? 4 : 3);
  config.output.u.RGBA.size = alpha ? rgba.size() : image.bytes();
  VP8StatusCode status = WebPDecode(in.bytes(), in.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) fail_damaged(in, "WebP", status_text(status));
  if (alpha)
    flatten_alpha(rgba.data(), image.rgb.get(), int64_t(image.width) * image.height, options.alpha_on_white);
}

}  // namespace

ImageInfo probe_webp(const Input& in) {
  auto f = read_features(in);
  return {ImageFormat::webp, f.width, f.height, orientation_in(in)};
}

Image decode_webp(const Input& in, const DecodeOptions& options) {
  auto f = read_features(in);
  Image image(f.width, f.height);
  if (f.has_animation)
    decode_animation(in, options, image);
  else
    decode_still(in, options, f.has_alpha, image);
  image.orientation = orientation_in(in);
  return image;
}

}  // namespace vl8::codec
