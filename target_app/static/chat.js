// The chat page: one WebSocket that comes back by itself, and a log of what arrives on it.

"use strict";

const HEARTBEAT = "Server is running...";
const SHUTTING_DOWN = "Server is shutting down, please disconnect.";
const COMING_AND_GOING = /^Client "[^"]+" (connected|disconnected)\.$/;
const SAID = /^Client (\d+): ([^]*)$/;
const MOST_LINES = 1000;
const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_WAIT_SECONDS = 10;

const CLOSED = {
  1000: "closed",
  1001: "the server is shutting down",
  1006: "the connection was lost",
  1008: "the server did not allow it",
  1009: "a message was too big",
  1011: "the server had a problem",
  1012: "the server is restarting",
  1013: "the server is busy, or this page read too slowly",
};

const at = (id) => document.getElementById(id);
const ownId = String(Date.now());

let socket = null;
let failures = 0;
let retry = null; // the timer that counts down to the next try
let wanted = true; // false once the user has disconnected
let lost = null; // why there is no connection, in words, from its loss until the next one
let lastBeat = null;
let atEnd = true; // whether the newest message is in sight

// --- what arrives

function received(text) {
  // What somebody says comes first: it may look like a notice, but it has a name before it.
  const said = SAID.exec(text);
  if (said) {
    addChat(said[1], said[2]);
  } else if (text === HEARTBEAT) {
    beat();
  } else if (text === SHUTTING_DOWN) {
    shuttingDown();
  } else if (COMING_AND_GOING.test(text)) {
    addLine("notice", text);
  } else {
    addChat(null, text);
  }
}

function addChat(id, text) {
  const own = id === ownId;
  const line = addLine(own ? "chat own" : "chat", "");
  const by = document.createElement("span");
  by.className = "by";
  by.textContent = own ? "You" : id === null ? "Somebody" : `Client ${id}`;
  line.append(by, text);
}

function addLine(kind, text) {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = text; // never as HTML: it comes from anybody
  at("empty").hidden = true;
  at("log").append(line);
  while (at("log").children.length > MOST_LINES) at("log").firstChild.remove();
  // Only who was at the end is taken along; everyone else is told.
  if (atEnd) requestAnimationFrame(toEnd);
  else at("unread").hidden = false;
  return line;
}

function toEnd() {
  atEnd = true;
  at("scroll").scrollTop = at("scroll").scrollHeight;
  at("unread").hidden = true;
}

function beat() {
  lastBeat = Date.now();
  at("dot").classList.remove("beat");
  requestAnimationFrame(() => at("dot").classList.add("beat"));
  showBeat();
}

function showBeat() {
  if (lastBeat === null) return;
  const seconds = Math.round((Date.now() - lastBeat) / 1000);
  at("heartbeat").textContent = `Last heartbeat ${seconds < 1 ? "just now" : `${seconds} s ago`}`;
}

async function shuttingDown() {
  const asked = socket;
  // Whoever has no number may say the same words, so the server itself is asked.
  if (!(await drains())) {
    addChat(null, SHUTTING_DOWN);
    return;
  }
  if (asked !== socket) return;
  at("shutdown").textContent =
    "The server is shutting down. This page will come back to it when it is there again.";
  at("shutdown").hidden = false;
  // The server waits for this page to leave, and cannot say so to whoever stays.
  lost ??= "the server is shutting down";
  asked.close(1000);
}

async function drains() {
  const base = document.body.dataset.path.replace(/\/ws$/, "");
  try {
    const answer = await fetch(`${base}/readyz`);
    return (await answer.json()).status === "draining";
  } catch {
    return true; // nobody answers any more
  }
}

// --- the connection

function address() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${document.body.dataset.path}/${ownId}${location.search}`;
}

function connect() {
  clearInterval(retry);
  wanted = true;
  show("connecting", "Connecting …");
  socket = new WebSocket(address());
  socket.onopen = () => {
    failures = 0;
    lost = null;
    at("shutdown").hidden = true;
    show("connected", "Connected");
  };
  socket.onmessage = (event) => received(String(event.data));
  socket.onclose = (event) => closed(event);
}

function closed(event) {
  // What ended the connection is worth more than why a later try did not succeed.
  lost ??= `${event.reason || CLOSED[event.code] || "closed"} (${event.code})`;
  if (!wanted) {
    lost = null;
    at("shutdown").hidden = true;
    show("disconnected", "Disconnected");
    return;
  }
  // Full jitter: all pages lost the same server, and should not all come back at one instant.
  const longest = Math.min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** failures);
  failures += 1;
  countDown(Date.now() + Math.random() * longest * 1000, lost);
}

function countDown(due, told) {
  const tick = () => {
    const seconds = Math.max(0, (due - Date.now()) / 1000);
    if (seconds === 0) connect();
    else show("waiting", `${capital(told)}. Reconnecting in ${Math.ceil(seconds)} s`);
  };
  retry = setInterval(tick, 100);
  tick();
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function show(state, told) {
  at("connection").dataset.state = state;
  if (at("state").textContent !== told) at("state").textContent = told;
  at("reconnect").hidden = state === "connected" || state === "connecting";
  at("disconnect").hidden = state !== "connected";
  at("send").disabled = state !== "connected";
  at("hint").textContent =
    state === "connected"
      ? "Enter sends, Shift+Enter begins a new line."
      : "Not connected: what you write stays here until you are again.";
}

// --- what the user does

function send() {
  const text = at("text").value;
  if (!text.trim() || socket.readyState !== WebSocket.OPEN) return;
  socket.send(text);
  at("text").value = "";
  grow();
  toEnd();
}

function grow() {
  at("text").style.height = "auto";
  at("text").style.height = `${at("text").scrollHeight + 2}px`;
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
  at("text").focus();
});
at("text").addEventListener("keydown", (event) => {
  // An Enter that chooses a word in an input method is not one that sends.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
at("text").addEventListener("input", grow);
at("reconnect").addEventListener("click", connect);
at("disconnect").addEventListener("click", () => {
  wanted = false;
  socket.close(1000);
});
at("unread").addEventListener("click", toEnd);
at("scroll").addEventListener("scroll", () => {
  const scroll = at("scroll");
  atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
  if (atEnd) at("unread").hidden = true;
});
// A banner or a phone's keyboard takes room away from the messages.
new ResizeObserver(() => atEnd && toEnd()).observe(at("scroll"));

at("own-id").textContent = `client ${ownId}`;
const room = new URLSearchParams(location.search).get("room");
if (room) at("room").textContent = ` in room ${room}`;
setInterval(showBeat, 1000);
connect();
