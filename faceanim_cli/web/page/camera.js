// The dialog that takes a photo, or records a video.

import { tell } from "./server.js";

const MOST_SECONDS = 60;
const dialog = document.getElementById("camera");
const video = document.getElementById("camera-video");
const status = document.getElementById("camera-status");
const take = document.getElementById("camera-take");

export const NO_CAMERA = "The camera works only on the computer that faceanim runs on, or over https.";

// The camera's pictures; rejects with an Error whose message is for people.
export async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Error(NO_CAMERA);
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
  } catch (error) {
    throw new Error(
      error.name === "NotAllowedError" ? "The browser was not allowed to use the camera." : "There is no camera, or another program uses it.",
    );
  }
}

export const takePhoto = () => show("Take a photo", "Take the photo", photograph);
export const recordVideo = () => show("Record a video", "Start", record);

// Opens the dialog; resolves to a File, or null if it was closed.
async function show(title, label, action) {
  document.getElementById("camera-title").textContent = title;
  take.textContent = label;
  take.disabled = true;
  tell(status, "Waiting for the camera…");
  dialog.showModal();
  let stream = null;
  try {
    const closed = new Promise((resolve) => dialog.addEventListener("close", () => resolve(null), { once: true }));
    document.getElementById("camera-close").onclick = () => dialog.close();
    const taken = (async () => {
      try {
        stream = await openCamera();
      } catch (error) {
        tell(status, error.message, true);
        return closed;
      }
      if (!dialog.open) {  // closed while the browser asked
        stream.getTracks().forEach((track) => track.stop());
        return null;
      }
      video.srcObject = stream;
      await video.play();
      take.disabled = false;
      take.focus();
      tell(status, "Look at the camera, your whole face in the picture.");
      return action(stream);
    })();
    return await Promise.race([taken, closed]);
  } finally {
    stream?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    if (dialog.open) {
      dialog.close();
    }
  }
}

const pressed = () => new Promise((resolve) => { take.onclick = resolve; });

async function photograph() {
  await pressed();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}

async function record(stream) {
  await pressed();
  const type = ["video/webm", "video/mp4"].find((kind) => MediaRecorder.isTypeSupported(kind));
  const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 4_000_000 });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  take.textContent = "Stop";
  const begun = Date.now();
  const clock = setInterval(() => tell(status, `Recording, ${Math.round((Date.now() - begun) / 1000)} s`), 1000);
  tell(status, "Recording");
  await Promise.race([pressed(), stopped, new Promise((resolve) => setTimeout(resolve, MOST_SECONDS * 1000))]);
  clearInterval(clock);
  if (recorder.state !== "inactive") {
    recorder.stop();
  }
  await stopped;
  return new File(parts, type === "video/webm" ? "camera.webm" : "camera.mp4", { type });
}
