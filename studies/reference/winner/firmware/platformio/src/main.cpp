// Runs the self-test of the network, and prints its result and the time that the first test image takes.
#include <Arduino.h>

#include "model_test.h"

static int number, answer;
static unsigned long duration;

void setup()
{
    Serial.begin(115200);
    number = model_self_test();
    const unsigned long start = micros();
    answer = model_predict(model_test_images[0]);
    duration = micros() - start;
}

// Prints the result every few seconds, for a monitor that is opened later.
void loop()
{
    if (number == 0) {
        Serial.print("self-test: ");
        Serial.print(MODEL_TEST_IMAGES);
        Serial.println(MODEL_TEST_IMAGES == 1 ? " image has the expected logits" : " images have the expected logits");
    } else {
        Serial.print("self-test: image ");
        Serial.print(number);
        Serial.println(" has other logits than expected");
    }
    Serial.print("image 1: class ");
    Serial.print(MODEL_CLASSES[answer]);
    Serial.print(", ");
    Serial.print(duration);
    Serial.println(" microseconds");
    delay(3000);
}
