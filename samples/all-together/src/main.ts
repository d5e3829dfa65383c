const clock: HTMLElement | null = document.querySelector("#clock");

function tick(zone: string): void {
  if (clock) {
    clock.textContent = new Date().toLocaleTimeString("en", { timeZone: zone });
  }
}

setInterval(tick, 1000, clock?.dataset.zone);
