import { greeting } from "./greeting";
import "./style.css";

const page = document.querySelector("main");
if (page) {
    page.textContent = greeting(new Date());
}
