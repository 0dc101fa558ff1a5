"""A locustfile to copy: people who chat, and a swarm that listens to them."""

from locust import between, task

from swarmgate.locust import SwarmUser, WebSocketUser


class Listener(SwarmUser):
    """Ten thousand of these fit a worker: connections of the asyncio swarm."""

    scenario = "hold"
    path = "/ws"


class Talker(WebSocketUser):
    """An ordinary Locust user, with tasks."""

    wait_time = between(1, 2)

    def on_start(self):
        self.subscribe(lambda message: None, "announcement", name="announcement")
        self.connect("/ws")

    @task
    def talk(self):
        self.ask("hello", matching="hello", within=5, name="say and hear hello")
