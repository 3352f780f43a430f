// The form: a photo, what moves it, how much, and off it goes.

import { recordVideo, takePhoto } from "./camera.js";
import { framing, showCrop } from "./crop.js";
import { follow, remember } from "./jobs.js";
import { goLive } from "./live.js";
import { send, tell } from "./server.js";
import { slide } from "./sliders.js";

const at = (id) => document.getElementById(id);
const SLIDERS = ["pose", "expression", "mouth", "eyes", "gaze", "smooth"];
const MB = 1_000_000;
let choices = null;  // of the server
let photo = null;  // { file, seen }, seen as the server tells it
let face = null;  // its number, from 1; null is the largest
let driver = null;  // a file

// ---- Photo

// Whether there is a file that may be sent; says so if it is too large.
function fits(file, mostMb, status) {
  const large = file && file.size > mostMb * MB;
  if (large) {
    tell(status, `${file.name} is too large: at most ${mostMb} MB are taken`, true);
  }
  return file && !large;
}

async function usePhoto(file) {
  if (!fits(file, choices.photo_mb, at("photo-status"))) {
    return;
  }
  photo = null;
  at("photo-view").hidden = at("crop-view").hidden = true;
  tell(at("photo-status"), "Looking for the face…");
  try {
    const seen = await send("POST", `/api/faces?name=${encodeURIComponent(file.name)}`, file);
    showPhoto(file, seen);
  } catch (error) {
    tell(at("photo-status"), error.message, true);
  }
}

function showPhoto(file, seen) {
  at("photo-picture").src = seen.picture;
  at("photo-picture").alt = `The photo ${file.name}`;
  at("photo-view").hidden = false;
  at("photo-hint").textContent = "Another one: drop it here, paste it, or";
  at("faces").replaceChildren();
  if (seen.message) {
    tell(at("photo-status"), seen.message, true);
    return;
  }
  photo = { file, seen };
  const several = seen.faces.length > 1;
  tell(at("photo-status"), several ? `${seen.faces.length} faces: choose the one that moves.` : "One face found.");
  if (several) {
    seen.faces.forEach((found, i) => at("faces").append(faceButton(found.box, i + 1)));
  }
  chooseFace(seen.largest);
}

function faceButton([x, y, w, h], number) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "face";
  button.setAttribute("aria-label", `Face ${number} of ${photo.seen.faces.length}`);
  const label = document.createElement("span");
  label.textContent = number;
  button.append(label);
  const share = (length, whole) => `${(100 * length) / whole}%`;
  button.style.left = share(x, photo.seen.width);
  button.style.top = share(y, photo.seen.height);
  button.style.width = share(w, photo.seen.width);
  button.style.height = share(h, photo.seen.height);
  button.onclick = () => chooseFace(number);
  return button;
}

function chooseFace(number) {
  face = number === photo.seen.largest ? null : number;
  [...at("faces").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i + 1 === number)));
  showCrop(photo.seen.faces[number - 1].crop, photo.seen.width);
}

// ---- Motion

function useDriver(file) {
  if (!fits(file, choices.driver_mb, at("driver-status"))) {
    return;
  }
  driver = file;
  at("motion-own").checked = true;
  const video = at("driver-video");
  URL.revokeObjectURL(video.src);
  video.src = URL.createObjectURL(file);
  video.hidden = false;
  video.onerror = () => { video.hidden = true; };  // the server may be able to read it all the same
  at("driver-hint").textContent = "Another one: drop it here, or";
  tell(at("driver-status"), file.name);
}

// ---- How much

function settings() {
  const size = Number(at("size").value);
  const chosen = {
    absolute: at("absolute").checked,
    paste_back: at("paste_back").checked,
    ...Object.fromEntries(SLIDERS.map((id) => [id, Number(at(id).value)])),
    ...framing(),
  };
  if (size <= 256) {
    chosen.sr = false;
  }
  if (!chosen.paste_back) {
    chosen.size = size;
  }
  if (face !== null) {
    chosen.face = face;
  }
  if (choices.models.length > 1) {
    chosen.weights = at("weights").value;
  }
  return chosen;
}

// ---- Off it goes

async function animate(event) {
  event.preventDefault();
  const motion = document.querySelector("input[name=motion]:checked").value;
  if (!photo) {
    tell(at("go-status"), "Choose a photo first.", true);
    at("photo-file").focus();
    return;
  }
  if (!motion && !driver) {
    tell(at("go-status"), "Choose a video, or one of the motions.", true);
    at("driver-file").focus();
    return;
  }
  const { file, seen } = photo;
  if (motion === "live") {
    const { size, ...chosen } = settings();  // live, pictures are as small as the networks make them
    tell(at("go-status"), "");
    goLive(file.name, seen.picture, chosen);
    return;
  }
  const video = motion ? null : driver;
  at("animate").disabled = true;
  try {
    const asked = { photo: file.name, driver: video?.name, motion: motion || null, settings: settings() };
    tell(at("go-status"), "Sending…");
    const { id } = await send("POST", "/api/jobs", JSON.stringify(asked));
    remember(id, seen.picture, video);
    await send("PUT", `/api/jobs/${id}/photo`, file);
    if (video) {
      const showShare = (share) => tell(at("go-status"), `Sending the video, ${Math.round(100 * share)} %`);
      await send("PUT", `/api/jobs/${id}/driver`, video, showShare);
    }
    await send("POST", `/api/jobs/${id}/start`);
    tell(at("go-status"), "It is in the queue, below.");
    at("jobs-section").scrollIntoView({ block: "nearest" });
  } catch (error) {
    tell(at("go-status"), error.message, true);
  } finally {
    at("animate").disabled = false;
  }
}

// ---- What people do

function onDrop(zone, use) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    use(event.dataTransfer.files[0]);
  });
}

async function fromCamera(take, use) {
  const file = await take();
  if (file) {
    use(file);
  }
}

function onFile(input, use) {
  input.onchange = () => {
    use(input.files[0]);
    input.value = "";  // so that the same file may be chosen again
  };
}

onFile(at("photo-file"), usePhoto);
onFile(at("driver-file"), useDriver);
onDrop(at("photo-drop"), usePhoto);
onDrop(at("driver-drop"), useDriver);
for (const type of ["dragover", "drop"]) {  // beside the zones, a browser would leave the page for the file
  document.addEventListener(type, (event) => event.preventDefault());
}
document.addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  if (file) {
    (file.type.startsWith("video/") ? useDriver : usePhoto)(file);
  }
});
at("photo-camera").onclick = () => fromCamera(takePhoto, usePhoto);
at("driver-camera").onclick = () => fromCamera(recordVideo, useDriver);
at("form").onsubmit = animate;
slide(SLIDERS, "reset");

try {
  choices = await send("GET", "/api/choices");
  at("weights").append(...choices.models.map((name) => new Option(name)));
  at("weights-field").hidden = choices.models.length < 2;
  history.replaceState(null, "", "/");  // the token need not stay in the address
  follow();
} catch (error) {
  tell(at("offline"), error.message, true);
  at("offline").hidden = false;
}
