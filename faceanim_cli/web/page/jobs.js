// The animations of this session: how far each has come, and what came of it.

import { NO_ANSWER, send, tell } from "./server.js";

const at = (id) => document.getElementById(id);
const WORDS = { "nod": "a nod", "shake": "a shake of the head", "smile-and-blink": "a smile and a blink" };
const sent = new Map();  // what was sent for each job, to be shown beside its result
const cards = new Map();  // each job's part of the page, and its state

// Keep, for a job, the photo's address and the video that were sent.
export function remember(id, picture, video) {
  sent.set(id, { picture, video: video && URL.createObjectURL(video) });
}

// Listen for news of the jobs, as long as the page is open.
export function follow() {
  const events = new EventSource("/api/events");
  const banner = at("offline");
  events.onopen = () => { banner.hidden = true; };
  events.onerror = () => {
    banner.textContent = events.readyState === EventSource.CLOSED ? "faceanim was started again: reload the page." : NO_ANSWER;
    banner.hidden = false;
  };
  events.onmessage = (event) => {
    const { ids, changed } = JSON.parse(event.data);
    for (const id of [...cards.keys()].filter((known) => !ids.includes(known))) {
      forget(id);
    }
    changed.forEach(show);
    at("jobs-section").hidden = cards.size === 0;
  };
}

function forget(id) {
  cards.get(id).element.remove();
  cards.delete(id);
  if (sent.get(id)?.video) {
    URL.revokeObjectURL(sent.get(id).video);
  }
  sent.delete(id);
}

function show(job) {
  const card = cards.get(job.id) ?? create(job);
  const find = (what) => card.element.querySelector(what);
  const ended = ["done", "failed", "cancelled"].includes(job.state);
  tell(find(".job-state"), inWords(job), job.state === "failed");
  const bar = find("progress");
  bar.hidden = ended;
  if (job.state === "working" && job.total) {
    bar.max = job.total;
    bar.value = job.done;
  } else {
    bar.removeAttribute("value");
  }
  find(".cancel").hidden = ended;
  find(".remove").hidden = !ended;
  find(".notes").replaceChildren(...job.notes.map((note) => {
    const item = document.createElement("li");
    item.textContent = note;
    return item;
  }));
  if (card.state !== job.state) {
    card.state = job.state;
    if (ended || job.state === "working") {
      at("news").textContent = `${title(job)}: ${inWords(job)}`;  // read out, but not each frame
    }
    if (job.state === "done") {
      showResult(job, find);
    }
  }
}

function create(job) {
  const element = at("job-template").content.cloneNode(true).querySelector("li");
  const find = (what) => element.querySelector(what);
  find("h3").textContent = title(job);
  for (const button of element.querySelectorAll("button")) {
    const what = button.dataset.kind ? `Save as ${button.textContent}` : button.textContent;
    button.setAttribute("aria-label", `${what}: ${title(job)}`);
  }
  find(".cancel").onclick = () => ask(element, "POST", `/api/jobs/${job.id}/cancel`);
  find(".remove").onclick = () => {
    (element.nextElementSibling?.querySelector(".remove") ?? at("animate")).focus();
    ask(element, "DELETE", `/api/jobs/${job.id}`);
  };
  for (const button of element.querySelectorAll("[data-kind]")) {
    button.onclick = () => save(job, button.dataset.kind, find(".downloads .status"));
  }
  const inputs = sent.get(job.id);
  if (inputs) {
    find(".of-photo img").src = inputs.picture;
    find(".of-photo").hidden = false;
    if (inputs.video) {
      const video = find(".of-driver video");
      video.src = inputs.video;
      video.onerror = () => { find(".of-driver").hidden = true; };
      find(".of-driver").hidden = false;
    }
  }
  at("jobs").prepend(element);
  const card = { element, state: null };
  cards.set(job.id, card);
  return card;
}

async function ask(element, method, path) {
  try {
    await send(method, path);
  } catch (error) {
    tell(element.querySelector(".job-state"), error.message, true);
  }
}

function showResult(job, find) {
  const result = find(".of-result video");
  const driver = find(".of-driver video");
  result.src = `/api/jobs/${job.id}/result.mp4?show`;
  find(".of-result").hidden = find(".downloads").hidden = false;
  result.onplay = () => { driver.currentTime = result.currentTime; if (driver.src) { driver.play(); } };
  result.onpause = () => driver.pause();
  result.onseeked = () => { driver.currentTime = result.currentTime; };  // a loop begins anew, too
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    result.play().catch(() => {});  // where browsers let nothing play by itself, there is a button
  }
}

async function save(job, kind, status) {
  tell(status, kind === "mp4" ? "" : "Making it…");
  try {
    await send("POST", `/api/jobs/${job.id}/make/${kind}`);
    tell(status, "");
    const link = document.createElement("a");
    link.href = `/api/jobs/${job.id}/result.${kind}`;
    link.download = "";
    link.click();
  } catch (error) {
    tell(status, error.message, true);
  }
}

const title = (job) => `${job.photo}, ${WORDS[job.driver] ?? job.driver}`;

function inWords(job) {
  switch (job.state) {
    case "uploading": return "Being sent";
    case "waiting": return job.place === 1 ? "Next in the queue" : `Number ${job.place} in the queue`;
    case "working": return job.done ? working(job) : "Looking at the face and its motion…";
    case "done": return `Done: ${job.frames} frames, ${seconds(job.frames / job.fps)}`;
    case "cancelled": return "Cancelled";
    default: return job.message;
  }
}

function working(job) {
  const parts = [job.total ? `Frame ${job.done} of ${job.total}` : `Frame ${job.done}`];
  if (job.rate) {
    parts.push(`${job.rate.toFixed(1)} frames a second`);
  }
  if (job.left !== null) {
    parts.push(`${seconds(Math.ceil(job.left))} left`);
  }
  return parts.join(" · ");
}

function seconds(count) {
  if (count < 60) {
    return `${Number(count.toFixed(1))} s`;
  }
  return `${Math.floor(count / 60)} min ${Math.round(count % 60)} s`;
}
