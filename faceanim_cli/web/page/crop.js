// The part of the photo that moves: what was found around a face, nearer or beside it if somebody wishes.

import { slide } from "./sliders.js";

const at = (id) => document.getElementById(id);
const canvas = at("crop");
let found = null;  // { crop, width }: [x, y, w, h] around the face, in a photo of that width
const reset = slide(["zoom", "shift-x", "shift-y"], "crop-reset", draw);

// Show what was found, as it is.
export function showCrop(crop, width) {
  found = { crop, width };
  reset();
  at("crop-view").hidden = false;
}

// What the sliders say, as options; nothing where they are as they were.
export function framing() {
  const [zoom, x, y] = ["zoom", "shift-x", "shift-y"].map((id) => Number(at(id).value));
  return { ...(zoom !== 1 && { zoom }), ...((x || y) && { shift: `${x},${y}` }) };
}

async function draw() {
  const picture = at("photo-picture");
  await picture.decode();
  const { zoom = 1, shift = "0,0" } = framing();
  const [x, y] = shift.split(",").map(Number);
  const [left, top, side] = found.crop;
  const size = canvas.width;
  const scale = (size * zoom * found.width) / (side * picture.naturalWidth);  // of the picture in the canvas
  const start = (corner, moved) => size * (0.5 - moved) - ((corner + side / 2) / side) * size * zoom;
  const [atX, atY] = [start(left, x), start(top, y)].map(Math.round);
  const [width, height] = [picture.naturalWidth * scale, picture.naturalHeight * scale].map(Math.round);
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, size, size);
  pen.drawImage(picture, atX, atY, width, height);
  // Beyond the photo its edge is repeated, as in the result.
  const [endX, endY] = [atX + width, atY + height];
  pen.drawImage(canvas, Math.max(atX, 0), 0, 1, size, 0, 0, Math.max(atX, 0), size);
  pen.drawImage(canvas, Math.min(endX, size) - 1, 0, 1, size, endX, 0, Math.max(size - endX, 0), size);
  pen.drawImage(canvas, 0, Math.max(atY, 0), size, 1, 0, 0, size, Math.max(atY, 0));
  pen.drawImage(canvas, 0, Math.min(endY, size) - 1, size, 1, 0, endY, size, Math.max(size - endY, 0));
}

// It can be dragged, too.
canvas.onpointerdown = (event) => canvas.setPointerCapture(event.pointerId);
canvas.onpointermove = (event) => {
  if (event.buttons) {
    for (const [id, moved] of [["shift-x", event.movementX], ["shift-y", event.movementY]]) {
      at(id).value = Number(at(id).value) - moved / canvas.clientWidth;
      at(id).dispatchEvent(new Event("input"));
    }
  }
};
