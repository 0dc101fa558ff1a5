// A Node server on `ws`: echo, and broadcast on /ws. Run as `node server.mjs PORT`. On SIGTERM it prints
// what it counted, as one JSON object.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
});

// Not server.clients: those of other paths are not of the audience.
const audience = new Set();
const done = { handshakes: 0, received: 0, sent: 0 };

server.on("connection", (socket, request) => {
  done.handshakes += 1;
  socket.on("error", () => socket.terminate());
  socket.on("message", () => {
    done.received += 1;
    done.sent += request.url === "/ws" ? audience.size : 1;
  });
  if (request.url === "/ws") {
    audience.add(socket);
    socket.on("close", () => audience.delete(socket));
    socket.on("message", (data, binary) => {
      for (const client of audience) client.send(data, { binary });
    });
  } else {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  }
});

server.on("listening", () => {
  process.stderr.write(`listening on ws://127.0.0.1:${server.address().port}\n`);
});

process.on("SIGTERM", () => {
  process.stdout.write(`${JSON.stringify(done)}\n`, () => process.exit(0));
});
