// The photo that moves live: frames of the camera go to the server, pictures come back.

import { openCamera } from "./camera.js";
import { NO_ANSWER, tell } from "./server.js";

const UNDER_WAY = 2;  // frames that are sent and not answered yet
const LONGEST_SIDE = 640;  // of a frame that is sent
const at = (id) => document.getElementById(id);
const dialog = at("live");
const video = at("live-camera");
const status = at("live-status");
let mirrors = true;

// Open the dialog, and let a photo, given by name and address, move until it is closed.
export async function goLive(name, picture, settings) {
  tell(status, "Waiting for the camera…");
  at("live-pace").textContent = "";
  dialog.showModal();
  const visit = { sent: [], socket: null, stream: null, frame: null, paces: [], busy: false, ready: false };
  dialog.addEventListener("close", () => stop(visit), { once: true });
  try {
    visit.stream = await openCamera();
    if (!dialog.open) {
      stop(visit);
      return;
    }
    video.srcObject = visit.stream;
    await video.play();
    const photo = await dataBlob(picture);
    tell(status, "Getting ready…");
    connect(visit, name, photo, settings);
  } catch (error) {
    tell(status, error.message, true);
  }
}

function connect(visit, name, photo, settings) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
  visit.socket = socket;
  socket.binaryType = "blob";
  socket.onopen = () => {
    socket.send(JSON.stringify({ name, settings }));
    socket.send(photo);
  };
  socket.onmessage = (event) => (typeof event.data === "string" ? hear(visit, JSON.parse(event.data)) : show(visit, event.data));
  socket.onclose = () => {
    if (dialog.open && !status.classList.contains("error")) {
      tell(status, NO_ANSWER, true);
    }
  };
  at("live-recentre").onclick = () => socket.send("recentre");
  at("live-mirror").onclick = () => {
    mirrors = !mirrors;
    showMirror();
    socket.send("recentre");
  };
  showMirror();
}

function hear(visit, { ready, error }) {
  if (error) {
    tell(status, error, true);
  }
  if (ready) {
    tell(status, "Look straight ahead, your whole head in the picture.");
    visit.ready = true;
    nextFrame(visit);
  }
}

// Send each frame of the camera while there is room for it.
function nextFrame(visit) {
  if (visit.socket.readyState !== WebSocket.OPEN) {
    return;
  }
  video.requestVideoFrameCallback(async () => {
    nextFrame(visit);
    if (visit.sent.length >= UNDER_WAY || visit.busy) {
      return;
    }
    visit.busy = true;
    const taken = performance.now();
    const frame = await grab();
    visit.busy = false;
    if (visit.socket.readyState === WebSocket.OPEN) {
      visit.sent.push(taken);
      visit.socket.send(frame);
    }
  });
}

const canvas = document.createElement("canvas");

function grab() {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  const pen = canvas.getContext("2d", { alpha: false });
  if (mirrors) {
    pen.setTransform(-1, 0, 0, 1, canvas.width, 0);
  }
  pen.drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.8));
}

async function show(visit, message) {
  const [held, picture] = await Promise.all([
    message.slice(0, 1).arrayBuffer().then((flag) => new Uint8Array(flag)[0] === 0),
    createImageBitmap(message.slice(1)),
  ]);
  const shown = at("live-picture");
  if (shown.width !== picture.width || shown.height !== picture.height) {
    [shown.width, shown.height] = [picture.width, picture.height];
  }
  shown.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  const now = performance.now();
  visit.paces.push({ now, wait: now - visit.sent.shift() });
  if (visit.paces.length > 40) {
    visit.paces.shift();
  }
  const words = held ? "No face in the camera's picture." : "";
  if (status.textContent !== words && visit.paces.length > 1) {
    tell(status, words);
  }
  showPace(visit.paces);
}

function showPace(paces) {
  if (paces.length < 10) {
    return;
  }
  const rate = (1000 * (paces.length - 1)) / (paces.at(-1).now - paces[0].now);
  const wait = paces.map((pace) => pace.wait).sort((a, b) => a - b)[paces.length >> 1];
  at("live-pace").textContent = `${rate.toFixed(1)} pictures a second, ${Math.round(wait)} ms behind you`;
}

function showMirror() {
  at("live-mirror").setAttribute("aria-pressed", String(mirrors));
  video.classList.toggle("mirrored", mirrors);
}

function stop(visit) {
  visit.socket?.close();
  visit.stream?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}

// What a data address holds; fetch() of one is not allowed here.
async function dataBlob(address) {
  const [head, content] = address.split(",");
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}

at("live-close").onclick = () => dialog.close();
